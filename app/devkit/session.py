"""What the demo and `run` share: a folder of their own, signals, and the reason when something is wrong."""

import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from app.devkit.console import Screen
from app.devkit.scenarios import Mismatch
from app.devkit.timeline import TimelineLine
from app.domain.errors import BridgeError

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
INTERRUPTED = 130  # as shells have it


def run_trial(play: Callable[[Path, Screen], None]) -> int:
    """The exit code; with 1 the reason is shown, and the folder is kept if there are logs in it."""
    for number in ENDINGS:
        signal.signal(number, _interrupt)
    screen = Screen()
    folder = Path(tempfile.mkdtemp(prefix="cph-bridge-"))
    is_kept = False
    try:
        play(folder, screen)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (BridgeError, OSError, Mismatch) as error:
        # A terminal that is gone makes these raise again: then nobody knows of the folder.
        screen.line(TimelineLine("failed", "", str(error)))
        if any(folder.glob("logs/*")):
            screen.say(f"\nThe logs are in {folder / 'logs'}")
            is_kept = True
        return 1
    finally:
        if not is_kept:
            shutil.rmtree(folder)
    return 0


def _interrupt(*_: object) -> NoReturn:
    """Once: whoever is impatient must not end the clearing up."""
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
