"""The Dockerfile, before anything is built from it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages that the image has."""
    folder = tmp_path_factory.mktemp("installed")
    for package in ("app", "workers"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("devkit", "__pycache__"))
    return folder


def python(folder: Path, code: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs the code with the packages of the folder, but not with this checkout, which .venv knows."""
    begin = f"""
import sys
sys.meta_path = [finder for finder in sys.meta_path if not getattr(finder, "__module__", "").startswith("__editable__")]
sys.path.insert(0, {str(folder)!r})
"""
    argv = [sys.executable, "-I", "-c", begin + code, *arguments]
    return subprocess.run(argv, capture_output=True, encoding="utf-8", check=False, env=environment, timeout=20)


def cph_bridge(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return python(folder, "from app.cli.main import main; main()", *arguments, **environment)


def test_the_context_has_no_devkit() -> None:
    assert "app/devkit" in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("command", ["standin", "inbox"])
def test_commands_for_trials_say_where_they_are(installed: Path, command: str) -> None:
    done = cph_bridge(installed, command, "--bind", "127.0.0.1:0")
    assert done.returncode == 2
    assert f"{command} is not part of this installation: run .venv/bin/cph-bridge of a checkout" in done.stderr


def test_crash_points_cannot_be_set(installed: Path) -> None:
    done = cph_bridge(installed, "doctor", BRIDGE_TEST_CRASH_AT="deliver.before_post")
    assert done.returncode == 1
    assert "BRIDGE_TEST_CRASH_AT: for tests in a checkout only" in " ".join(done.stdout.split())


def test_every_other_command_is_there(installed: Path) -> None:
    for command in ("watch", "listen", "registrations", "keys", "reseal", "doctor", "render", "verify"):
        assert cph_bridge(installed, command, "--help").returncode == 0, command
    done = python(installed, "import app.api.server, workers.rq_jobs, workers.__main__")
    assert done.returncode == 0, done.stderr
