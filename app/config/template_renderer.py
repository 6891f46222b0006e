"""Has templates rendered by processes with limits: a template may loop for ever over what a tenant sends."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from app.config import template_process
from app.config.template_process import FAILED, MEMORY_BYTES, OK, OUTPUT_BYTES, TOO_LONG, TOO_MUCH_MEMORY, TOO_SLOW
from app.domain.errors import Unavailable, Unrenderable

# Seconds of CPU time. A render usually takes less than a millisecond. What takes longer than QUICK_S begins again among
# the slow ones, one at a time, so that it does not keep others waiting.
QUICK_S, SLOW_S = 0.01, 0.5
QUICK_AT_ONCE, SLOW_AT_ONCE = 2, 1
# For a turn, and for an answer: a process that is given little CPU time needs longer than SLOW_S.
WAIT_S, SLOW_WAIT_S = 5.0, 2.0
PACKAGES = Path(__file__).parents[2]  # the folder that contains `app`
REASONS = {
    TOO_SLOW: f": takes more than {SLOW_S:g} s of CPU time",
    TOO_MUCH_MEMORY: f": needs more than {MEMORY_BYTES >> 20} MiB of memory",
    TOO_LONG: f": gives more than {OUTPUT_BYTES >> 20} MiB",
}


def render(subject: str, source: str, variables: Mapping[str, Any]) -> bytes:
    """Returns the JSON that a template gives. Thread-safe; returns within a few seconds.

    subject: begins the messages of errors. Raises Unrenderable with the reason, or Unavailable if no process rendered.
    """
    answer = _renderer().render(subject, source, variables)
    if answer[:1] == OK:
        return answer[1:]
    raise Unrenderable(subject + REASONS.get(answer[:1], answer.removeprefix(FAILED).decode()))


class _Process:
    """A process with its supervisor, started at once. Raises OSError."""

    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair()
        try:
            self._connection.settimeout(WAIT_S)
            # It gets no environment, which contains secrets, and a signal for the terminal's group does not reach it.
            self._process = subprocess.Popen(
                [sys.executable, "-B", "-m", "app.config.template_process"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=PACKAGES,
                env={},
                start_new_session=True,
            )
        except OSError:
            self._connection.close()
            raise
        finally:
            theirs.close()

    def ask(self, request: bytes) -> bytes:
        """Raises OSError (a timeout, too) or EOFError if no answer comes; then it must be closed."""
        template_process.send(self._connection, request)
        return template_process.receive(self._connection)

    def close(self) -> None:
        self._connection.close()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class _Renderer:
    """Processes that render, started when they are needed."""

    def __init__(self) -> None:
        self._idle: list[_Process] = []
        self._quick, self._slow = BoundedSemaphore(QUICK_AT_ONCE), BoundedSemaphore(SLOW_AT_ONCE)

    def render(self, subject: str, source: str, variables: Mapping[str, Any]) -> bytes:
        request = {"source": source, "variables": variables}
        with self._turn(self._quick, WAIT_S, subject):
            answer = self._ask(subject, request | {"cpu_s": QUICK_S})
        if answer != TOO_SLOW:
            return answer
        with self._turn(self._slow, SLOW_WAIT_S, subject):
            return self._ask(subject, request | {"cpu_s": SLOW_S})

    @staticmethod
    @contextmanager
    def _turn(turns: BoundedSemaphore, wait_s: float, subject: str) -> Iterator[None]:
        if not turns.acquire(timeout=wait_s):
            raise Unavailable(f"{subject}: not rendered, as other templates have taken too long")
        try:
            yield
        finally:
            turns.release()

    def _ask(self, subject: str, request: Mapping[str, Any]) -> bytes:
        content = json.dumps(request).encode()
        process = None
        try:
            process = self._take()
            answer = process.ask(content)
        except (OSError, EOFError) as error:
            if process:
                process.close()
            raise Unavailable(f"{subject}: not rendered: {type(error).__name__} of the process that renders") from None
        self._idle.append(process)
        return answer

    def _take(self) -> _Process:
        try:
            return self._idle.pop()
        except IndexError:
            return _Process()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


@cache
def _renderer() -> _Renderer:
    os.register_at_fork(after_in_child=_renderer.cache_clear)  # two processes must not share a connection
    return _Renderer()
