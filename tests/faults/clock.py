"""Steps the wall clock of single processes, by a library in C that is preloaded into them."""

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


class NoCompiler(Exception):
    """The clocks cannot be stepped on this machine."""


def library(folder: Path) -> Path:
    """Compiles the library. Raises NoCompiler without `cc`."""
    compiler = shutil.which("cc")
    if not compiler:
        raise NoCompiler("no C compiler (cc): the clocks cannot be stepped")
    target = folder / "clock.so"
    argv = [compiler, "-shared", "-fPIC", "-O2", "-o", str(target), str(SOURCE), "-ldl"]
    subprocess.run(argv, check=True, capture_output=True)
    return target


class SteppedClock:
    """The wall clock of the processes that are started with `environment`."""

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.step(0)
        self.environment = {"LD_PRELOAD": str(library), "LD_CLOCK_FILE": str(file)}

    def step(self, seconds: float) -> None:
        """Sets how far the clock is ahead of the true time."""
        new = self._file.with_suffix(".new")
        new.write_text(str(int(seconds * 1000)), encoding="utf-8")
        Path(new).replace(self._file)
