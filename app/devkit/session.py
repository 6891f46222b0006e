"""Shared by the demo and `run`: a temporary folder, signal handling, error reporting."""

import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from app.devkit.console import TrialConsole
from app.devkit.scenarios import Mismatch
from app.devkit.timeline import TimelineLine
from app.domain.errors import BridgeError

END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
INTERRUPTED = 130  # the exit code of shells after SIGINT


def run_trial(play: Callable[[Path, TrialConsole], None]) -> int:
    """Runs `play` in a temporary folder; returns the exit code.

    On failure (1) it shows the reason and keeps the folder if it contains logs.
    """
    for number in END_SIGNALS:
        signal.signal(number, _interrupt)
    screen = TrialConsole()
    folder = Path(tempfile.mkdtemp(prefix="cph-bridge-"))
    keep_folder = False
    try:
        play(folder, screen)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (BridgeError, OSError, Mismatch) as error:
        # If the terminal is closed, printing raises, and the folder is removed, as nobody knows its path.
        screen.line(TimelineLine("failed", "", str(error)))
        if any(folder.glob("logs/*")):
            screen.print(f"\nThe logs are in {folder / 'logs'}")
            keep_folder = True
        return 1
    finally:
        if not keep_folder:
            shutil.rmtree(folder)
    return 0


def _interrupt(*_: object) -> NoReturn:
    """Ignores further signals, so that a second Ctrl-C does not interrupt the clean-up."""
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
