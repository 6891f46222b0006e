"""The folder of the shared counters, and what processes that were killed have left."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from app.observability import counters_folder

CREATES = """
import sys
from pathlib import Path
from app.observability import counters_folder
print(counters_folder.create(Path(sys.argv[1])).path, flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_has_left_is_removed_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    def start() -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", CREATES, str(tmp_path)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    with start() as killed, start() as living:
        assert killed.stdout
        assert living.stdout
        left, used = (Path(process.stdout.readline().strip()) for process in (killed, living) if process.stdout)
        (left / "counter_1.db").write_bytes(b"x")
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert sorted(tmp_path.iterdir()) == sorted([left, used])
        own = counters_folder.create(tmp_path).path
        assert sorted(tmp_path.iterdir()) == sorted([used, own])
        living.kill()


def test_what_only_has_such_a_name_is_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    parent = tmp_path / "parent"
    parent.mkdir()
    (parent / "cph-bridge-counts-link").symlink_to(outside)
    (parent / "cph-bridge-counts-file").touch()
    counters_folder.create(parent)
    assert outside.is_dir()
    assert len(list(parent.iterdir())) == 3
