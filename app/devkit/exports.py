"""Export lines for another shell. `./dev run` keeps them in a file while it runs; `./dev env` prints them."""

import fcntl
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(".dev")


def export_lines(variables: Mapping[str, str]) -> str:
    """Returns lines that sh can `eval`."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


@contextmanager
def exports_file(lines: str, folder: Path = FOLDER) -> Iterator[None]:
    """Keeps the lines in a locked file `run-<pid>.env`. If another process can lock the file, the run has ended.

    Raises OSError on entry if the folder cannot be written.
    """
    folder.mkdir(exist_ok=True)
    path = folder / f"run-{os.getpid()}.env"
    temporary = path.with_suffix(".tmp")
    try:
        with open(temporary, "w", encoding="utf-8", opener=_owner_only) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(lines)
            file.flush()
            temporary.rename(path)
            yield
    finally:
        for file_path in (temporary, path):
            file_path.unlink(missing_ok=True)


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
