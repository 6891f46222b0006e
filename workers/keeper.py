"""Keeps a dispatcher beside a worker: in a process of its own, so that busy threads do not hold it up."""

import logging
import os
import signal
import subprocess
import sys

from app import logs
from workers.engine.stop_flag import StopFlag

LOOK_S = 0.5
AGAIN_S = 1.0
REFUSED = 2  # what a process of ours ends with when only an operator can help; it has said why


class Keeper:
    """refused: whether its dispatcher has ended so; this process is then told to end, too."""

    def __init__(self, stopping: StopFlag) -> None:
        self._stopping = stopping
        self.refused = False

    def run(self) -> None:
        """Until told to stop."""
        while not self._stopping.is_set():
            child = subprocess.Popen([sys.executable, "-m", "workers", "dispatcher"])
            while child.poll() is None and not self._stopping.wait(LOOK_S):
                pass
            if child.poll() is None:
                child.terminate()
            else:
                self._heard(child.returncode)
            child.wait()

    def _heard(self, code: int) -> None:
        logs.event("dispatcher.ended", level=logging.ERROR, code=code)
        if code == REFUSED:
            self.refused = True
            # RQ waits for work on the main thread, and hears of signals alone.
            os.kill(os.getpid(), signal.SIGTERM)
        self._stopping.wait(AGAIN_S)
