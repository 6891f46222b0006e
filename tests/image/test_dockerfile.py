"""The Dockerfile, before anything is built from it."""

import subprocess

from tests.support import tools
from tests.support.pods import ROOT


def test_hadolint_finds_nothing_to_blame() -> None:
    result = subprocess.run(
        [tools.program("hadolint"), ROOT / "Dockerfile"], capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 0, result.stdout


def test_the_context_holds_nothing_but_what_is_copied() -> None:
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    }
    lines = [
        line.split()
        for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
        if line.startswith("COPY ")
    ]
    copied = {source for _, *sources, _ in lines if not sources[0].startswith("--from") for source in sources}
    assert allowed == copied
