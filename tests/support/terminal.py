"""Commands in a pseudo-terminal, with pexpect."""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect

CPH_BRIDGE = str(Path(sys.executable).with_name("cph-bridge"))
PATIENCE_S = 30
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command that runs in a pseudo-terminal."""

    def __init__(self, child: "pexpect.spawn[str]") -> None:
        self._child = child
        self.pid: int = child.pid

    def wait_for(self, text: str) -> str:
        """Waits for the text. Returns all output since the last call, without colours."""
        self._child.expect_exact(text)
        return ESCAPES.sub("", f"{self._child.before}{text}")

    def type(self, line: str) -> None:
        self._child.sendline(line)

    def press_ctrl_c(self) -> None:
        self._child.sendintr()

    def end(self) -> tuple[int, str]:
        """Waits for the end. Returns the exit code and the remaining output, with colours."""
        self._child.expect(pexpect.EOF)
        self._child.close()
        return -self._child.signalstatus if self._child.signalstatus else self._child.exitstatus, str(
            self._child.before
        )


@contextmanager
def terminal(*arguments: str, env: Mapping[str, str], program: str = CPH_BRIDGE, **size: Any) -> Iterator[Terminal]:
    """Starts a command in a terminal of 30 lines and 160 columns. env: its whole environment, except for TERM."""
    child = pexpect.spawn(
        program,
        list(arguments),
        env={"TERM": "xterm-256color", **env},
        encoding="utf-8",
        timeout=PATIENCE_S,
        dimensions=(30, 160),
    )
    try:
        yield Terminal(child)
    finally:
        child.close(force=True)
