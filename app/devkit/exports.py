"""What another shell needs, as export lines; kept in a file while `./dev run` is up, for `./dev env` to print."""

import fcntl
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(".dev")


def export_lines(variables: Mapping[str, str]) -> str:
    """For `eval` in sh."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


@contextmanager
def kept(lines: str, folder: Path = FOLDER) -> Iterator[None]:
    """In `run-<pid>.env`, locked: whoever can lock such a file knows that its run has ended.

    OSError at the beginning if the folder cannot be written.
    """
    folder.mkdir(exist_ok=True)
    place = folder / f"run-{os.getpid()}.env"
    unfinished = place.with_suffix(".tmp")
    try:
        with open(unfinished, "w", encoding="utf-8", opener=_for_the_owner) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(lines)
            file.flush()
            unfinished.rename(place)
            yield
    finally:
        for path in (unfinished, place):
            path.unlink(missing_ok=True)


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
