"""The guard in a network of its own, in which every address is this machine: what is reached is what is seen."""

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT
from tests.support.tools import cannot

UNSHARE = ["unshare", "--net", "--mount", *(["--map-root-user"] if os.geteuid() else [])]


@pytest.fixture
def namespaces() -> list[str]:
    """The command that enters them. Without the right to, there is no lab; with CI=true, that is a failure."""
    try:
        tried = subprocess.run(
            [*UNSHARE, "ip", "link", "set", "lo", "up"], capture_output=True, encoding="utf-8", check=False
        )
        reason = tried.stderr
    except OSError as error:
        reason = str(error)
    if reason:
        cannot(f"no network namespace here: {reason.strip()}")
    return UNSHARE


@pytest.mark.slow
def test_the_corpus_holds_in_a_network_where_every_address_answers(namespaces: list[str]) -> None:
    inside = [sys.executable, "-m", "pytest", "tests/support/inside_lab.py"]
    run = subprocess.run(
        [*namespaces, *inside], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
