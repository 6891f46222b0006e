"""Runs a dispatcher in a process of its own beside a worker, so that busy threads do not delay it."""

import logging
import os
import signal
import subprocess
import sys
from threading import Thread

from app import logs
from app.config.settings import variables, without_secrets
from workers.engine.stop_flag import StopFlag

STDIN = 0
POLL_S = 0.5
RESTART_S = 1.0
# What Python, the dynamic linker, TLS and tests need. Everything else in the environment may be a secret.
SYSTEM_VARIABLES = ("PATH", "HOME", "TMPDIR", "TZ", "LANG", "LOCPATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
SYSTEM_PREFIXES = ("PYTHON", "LC_", "LD_", "DYLD_", "MALLOC_")
REFUSED = 2  # exit code of a process that needs its operator; it has logged the reason


class DispatcherKeeper:
    """refused: whether the dispatcher ended with REFUSED; this process then ends, too."""

    def __init__(self, stopping: StopFlag) -> None:
        self._stopping = stopping
        self.refused = False

    def run(self) -> None:
        """Restarts the dispatcher whenever it ends, until told to stop."""
        while not self._stopping.is_set():
            child = subprocess.Popen(
                [sys.executable, "-m", "workers", "dispatcher"], env=_environment(), stdin=subprocess.PIPE
            )
            while child.poll() is None and not self._stopping.wait(POLL_S):
                pass
            if child.poll() is None:
                child.terminate()
            else:
                self._on_end(child.returncode)
            child.wait()

    def _on_end(self, code: int) -> None:
        logs.event("dispatcher.ended", level=logging.ERROR, code=code)
        if code == REFUSED:
            self.refused = True
            # RQ's worker blocks the main thread, and only a signal interrupts it.
            os.kill(os.getpid(), signal.SIGTERM)
        self._stopping.wait(RESTART_S)


def end_with_parent(stopping: StopFlag) -> None:
    """Sets the flag when the parent process ends, however it ends: the kernel closes the other end of our stdin."""

    def wait() -> None:
        while os.read(STDIN, 1):  # not sys.stdin: this thread would hold its lock when the interpreter ends
            pass
        stopping.set()

    Thread(target=wait, daemon=True).start()


def _environment() -> dict[str, str]:
    """Returns what the dispatcher needs: no secret but those of Redis."""
    ours = variables()
    system = {
        name: value for name, value in ours.items() if name in SYSTEM_VARIABLES or name.startswith(SYSTEM_PREFIXES)
    }
    return system | without_secrets(ours, but="redis_")
