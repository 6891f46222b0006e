"""The folder of the counters that the processes of the API share."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PREFIX = "cph-bridge-counts-"
UNLOCKED = "cph-bridge-new-"


@dataclass(frozen=True, slots=True)
class CountersFolder:
    """lock: the descriptor of its lock, which lasts until every process that has the descriptor closes it or ends."""

    path: Path
    lock: int

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def create(parent: Path) -> CountersFolder:
    """Creates the folder, and removes those that nobody has locked: of processes that were killed.

    Children must close the lock, or the folder of a killed process counts as used until they have ended too.
    """
    _remove_leftovers(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"{UNLOCKED}{os.getpid()}-", dir=parent))
    lock = _lock(folder)
    # Others see it under this name only once it is locked.
    return CountersFolder(folder.rename(parent / folder.name.replace(UNLOCKED, PREFIX)), lock)


def _remove_leftovers(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # locked, another user's, or already removed
            descriptor = _lock(folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)


def _lock(folder: Path) -> int:
    """Returns the descriptor that holds the lock. Raises OSError if another process has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
