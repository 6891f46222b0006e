"""Child processes, each in a group of its own: started, listened to, ended."""

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

LOOK_EVERY_S = 0.02
PATIENCE_S = 60.0  # a limit for what fails, not a promise of how long a thing takes: machines that run tests are busy


def wait_until(condition: Callable[[], T], *, timeout: float = PATIENCE_S, what: str) -> T:
    """The condition's first true value; TimeoutError saying `what` did not come in time."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(LOOK_EVERY_S)
    return value


def start(
    argv: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    *,
    log: Path | None = None,
    pass_fds: tuple[int, ...] = (),
) -> "Process":
    """env: added to what it inherits, our environment without settings of the bridge.

    log: takes its stderr, which is ours when left out.
    """
    ours = os.environ.items()  # noqa: TID251 handed on, not read
    inherited = {name: value for name, value in ours if not name.startswith(PREFIX)}
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
    """A child and its own children. `lines` is what it has printed, read at once so that it never blocks on us."""

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
        """None while it runs; minus the signal's number when a signal ended it."""
        return self._child.poll()

    def announcement(self, timeout: float = PATIENCE_S) -> dict[str, Any]:
        """The JSON line that it prints when it is ready; ChildProcessError when it ends without one."""
        wait_until(lambda: self.lines or not self._reader.is_alive(), timeout=timeout, what=f"a line from {self._name}")
        if not self.lines:
            raise ChildProcessError(f"{self._name} said nothing and ended with {self.kill()}")
        announced: dict[str, Any] = json.loads(self.lines[0])
        return announced

    def stop(self, timeout: float = 10.0) -> int:
        """SIGTERM and time to finish, then SIGKILL for all that is left of its group; the exit code."""
        self._child.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout)
        return self.kill()

    def kill(self) -> int:
        """SIGKILL for the whole group; the exit code."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._child.wait()
        # Bounded: RQ's forked children leave the group, live on and keep the pipe open.
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
