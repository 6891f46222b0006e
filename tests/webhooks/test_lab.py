"""Runs the guard in a network namespace in which every address is this machine, so each connection is observed."""

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT
from tests.support.tools import cannot

UNSHARE = ["unshare", "--net", "--mount", *(["--map-root-user"] if os.geteuid() else [])]


@pytest.fixture
def unshare_command() -> list[str]:
    """The command that enters new namespaces. Without the permission the test is skipped; with CI=true it fails."""
    try:
        probe = subprocess.run(
            [*UNSHARE, "ip", "link", "set", "lo", "up"], capture_output=True, encoding="utf-8", check=False
        )
        reason = probe.stderr
    except OSError as error:
        reason = str(error)
    if reason:
        cannot(f"no network namespace here: {reason.strip()}")
    return UNSHARE


@pytest.mark.slow
def test_the_corpus_holds_in_a_network_where_every_address_answers(unshare_command: list[str]) -> None:
    pytest_command = [sys.executable, "-m", "pytest", "tests/support/inside_lab.py"]
    run = subprocess.run(
        [*unshare_command, *pytest_command], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
