"""A worker touches a file while it runs: Kubernetes' liveness probe reads that, and does not depend on Redis."""

import sys
from pathlib import Path

import pytest

from app.devkit.processes import start, wait_until

pytestmark = pytest.mark.slow  # starts processes

ENVIRONMENT = {"BRIDGE_REDIS_URL": "redis://127.0.0.1:9", "BRIDGE_BOOTSTRAP_KEY": ""}


def test_a_worker_touches_its_file_while_redis_is_unavailable(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    environment = {**ENVIRONMENT, "BRIDGE_ALIVE_FILE": str(file)}
    with start([sys.executable, "-m", "workers", "deliver"], environment, log=tmp_path / "log"):
        wait_until(file.exists, what="the file")
        first = file.stat().st_mtime_ns
        wait_until(lambda: file.stat().st_mtime_ns > first, what="a later touch")


def test_a_worker_whose_file_cannot_be_touched_says_so_and_ends(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "alive"
    with start(
        [sys.executable, "-m", "workers", "deliver"],
        {**ENVIRONMENT, "BRIDGE_ALIVE_FILE": str(file)},
        log=tmp_path / "log",
    ) as process:
        assert wait_until(lambda: process.exit_code, what="its end") == 2
    assert "BRIDGE_ALIVE_FILE: cannot touch" in (tmp_path / "log").read_text(encoding="utf-8")
