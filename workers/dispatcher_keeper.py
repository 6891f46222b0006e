"""Runs a dispatcher in a process of its own beside a worker, so that busy threads do not delay it."""

import logging
import os
import signal
import subprocess
import sys

from app import logs
from workers.engine.stop_flag import StopFlag

POLL_S = 0.5
RESTART_S = 1.0
REFUSED = 2  # exit code of a process that needs its operator; it has logged the reason


class DispatcherKeeper:
    """refused: whether the dispatcher ended with REFUSED; this process then ends, too."""

    def __init__(self, stopping: StopFlag) -> None:
        self._stopping = stopping
        self.refused = False

    def run(self) -> None:
        """Restarts the dispatcher whenever it ends, until told to stop."""
        while not self._stopping.is_set():
            child = subprocess.Popen([sys.executable, "-m", "workers", "dispatcher"])
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
