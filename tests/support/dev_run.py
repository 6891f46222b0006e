"""`python -m app.devkit.run`, started as `./dev run` starts it."""

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.devkit.processes import Process, start, wait_until

RUN = [sys.executable, "-m", "app.devkit.run"]
ANYWHERE = ["--bind", "127.0.0.1:0"]


@contextmanager
def running(folder: Path, temporary: Path, *options: str) -> Iterator[Process]:
    """Runs in `folder`. The environment has settings that the run must ignore. temporary: its TMPDIR."""
    environment = {"TMPDIR": str(temporary), "BRIDGE_LEASE_S": "soon", "BRIDGE_CPH_PROJECT_ID": "p0"}
    command = f"cd {shlex.quote(str(folder))} && exec {shlex.join([*RUN, *options])}"
    with start(["sh", "-c", command], environment) as run:
        yield run


def line_with(run: Process, text: str) -> str:
    def found() -> str:
        assert run.exit_code is None, run.lines
        return next((line for line in run.lines if text in line), "")

    return wait_until(found, timeout=120, what=f"a line with {text}")


def exported(run: Process, name: str) -> str:
    """The value that the run exports for other shells."""
    return shlex.split(line_with(run, f"export {name}="))[1].partition("=")[2]


def descendants(folder: Path) -> list[str]:
    """The command lines of running processes that have inherited this TMPDIR."""
    variable = f"TMPDIR={folder}\0".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if variable in (process / "environ").read_bytes() + b"\0":
                found.append((process / "cmdline").read_text(encoding="utf-8"))
        except OSError:
            continue
    return found


def ended(run: Process) -> tuple[int, list[str]]:
    """Waits for the end. Returns the exit code and all lines."""
    wait_until(lambda: run.exit_code is not None, timeout=120, what="its end")
    return run.kill(), run.lines


def end(run: Process) -> None:
    """Ends the run with Ctrl-C, which must succeed."""
    line_with(run, "Ctrl-C ends")
    os.kill(run.pid, signal.SIGINT)
    assert ended(run)[0] == 0
