"""Starts, reads and stops child processes, each in its own process group."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from threading import Thread
from typing import IO, Any, Self, TypeVar

from app.config.settings import PREFIX

T = TypeVar("T")

CHECK_EVERY_S = 0.02
PATIENCE_S = 60.0  # a limit for failures, not an expected duration: machines that run tests are busy


def wait_until(condition: Callable[[], T], *, timeout: float = PATIENCE_S, what: str) -> T:
    """Returns the condition's first true value. Raises TimeoutError that names `what`."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(CHECK_EVERY_S)
    return value


def start(
    argv: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    *,
    log: Path | None = None,
    pass_fds: tuple[int, ...] = (),
) -> "Process":
    """Starts a child process.

    env: added to the inherited environment, which is ours without settings of the bridge.
    log: the file that stderr is appended to; default: our stderr.
    """
    variables = os.environ.items()  # noqa: TID251 passed on, not read
    inherited = {name: value for name, value in variables if not name.startswith(PREFIX)}
    with log.open("ab") if log else nullcontext() as errors:
        child = subprocess.Popen(
            argv,
            env={**inherited, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            start_new_session=True,
            pass_fds=pass_fds,
        )
    return Process(child, name=str(argv[0]))


class Process:
    """A child and its own children. lines: its stdout, read continuously so that a full pipe never blocks it."""

    def __init__(self, child: subprocess.Popen[str], name: str) -> None:
        assert child.stdout
        self._child = child
        self._name = name
        self.lines: list[str] = []
        self._reader = Thread(target=self._read, args=[child.stdout], daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; the negative signal number if a signal ended it."""
        return self._child.poll()

    def announcement(self, timeout: float = PATIENCE_S) -> dict[str, Any]:
        """Returns the JSON line that the child prints when it is ready.

        Raises ChildProcessError if it ends without one, TimeoutError if none comes in time.
        """
        wait_until(lambda: self.lines or not self._reader.is_alive(), timeout=timeout, what=f"a line from {self._name}")
        if not self.lines:
            raise ChildProcessError(f"{self._name} printed nothing and ended with {self.kill()}")
        announced: dict[str, Any] = json.loads(self.lines[0])
        return announced

    def stop(self, timeout: float = 10.0) -> int:
        """Sends SIGTERM, waits, then sends SIGKILL to the rest of the group; returns the exit code. timeout: in s."""
        self._child.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout)
        return self.kill()

    def kill(self) -> int:
        """Sends SIGKILL to the whole group; returns the exit code."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._child.wait()
        # Limited: RQ's forked children leave the group, survive and keep the pipe open.
        self._reader.join(timeout=1.0)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _read(self, output: IO[str]) -> None:
        with output:
            for line in output:
                self.lines.append(line.rstrip("\n"))
