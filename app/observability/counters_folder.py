"""The folder of the counters that the processes of the API share."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "cph-bridge-counts-"
UNLOCKED = "cph-bridge-new-"


def create(parent: Path) -> Path:
    """Creates the folder, and removes those of processes that ended without doing so (kill -9).

    A lock tells them apart: it lasts until this process and those that it forks have ended.
    """
    _remove_leftovers(parent)
    folder = Path(tempfile.mkdtemp(prefix=UNLOCKED, dir=parent))
    with suppress(OSError):  # on a file system without locks nobody can lock it, and so nobody removes it
        _lock(folder)
    # Others see it under this name only once it is locked.
    return folder.rename(parent / folder.name.replace(UNLOCKED, PREFIX))


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
