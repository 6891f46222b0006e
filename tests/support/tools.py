"""External tools of tests: large tools that `./dev chart` installs, and packages installed into .dev on first use.

Where they are missing, as on a laptop without a network, tests are skipped. In CI the tests fail.
"""

import fcntl
import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import pytest

from app.config.settings import variables
from tests.support.paths import ROOT

INSTALL = "`./dev chart` installs it"
DEV = ROOT / ".dev"
LOCALES = "apt install locales"
LOCKED = ("package.json", "package-lock.json")


def cannot(reason: str) -> NoReturn:
    """Skips the test with a reason. With CI=true, fails it."""
    if variables().get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        cannot(f"{name} is missing: {INSTALL}")


def program(name: str, remedy: str = INSTALL) -> str:
    """The path of the program, in .venv or on PATH."""
    installed = Path(sys.executable).with_name(name)
    found = str(installed) if installed.exists() else shutil.which(name)
    return found or cannot(f"{name} is missing: {remedy}")


def npm_packages(wanted: Path, name: str) -> Path:
    """Installs npm packages into .dev/<name>, and returns this folder. wanted: the folder of package.json."""
    folder = DEV / name
    with _installation(folder, [wanted / file for file in LOCKED]) as missing:
        if missing:
            for file in LOCKED:
                shutil.copy(wanted / file, folder / file)
            _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    return folder


def python_packages(lock: Path, name: str) -> Path:
    """Installs the packages of a lock file into a virtual environment in .dev/<name>. Returns its Python.

    By uv: pip takes a minute of CPU for a hundred packages.
    """
    folder, uv = DEV / name, program("uv")
    python = folder / "venv" / "bin" / "python"
    with _installation(folder, [lock]) as missing:
        if missing:
            _run([sys.executable, "-m", "venv", "--clear", "--without-pip", "venv"], folder)
            install = [uv, "pip", "install", "--python", python, "--no-deps", "--require-hashes"]
            _run([*install, "--requirement", lock], folder)
    return python


def locales(folder: Path) -> Path:
    """Compiles zh_CN.GBK and de_DE.ISO-8859-1 into the folder, and returns it."""
    localedef = program("localedef", LOCALES)
    for language, charset in (("zh_CN", "GBK"), ("de_DE", "ISO-8859-1")):
        command = [localedef, "--no-archive", "-i", language, "-f", charset, folder / f"{language}.{charset}"]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            cannot(f"localedef cannot make {charset}: {LOCALES}")
    return folder


@contextmanager
def _installation(folder: Path, sources: Sequence[Path]) -> Iterator[bool]:
    """Yields whether the caller must install. A lock makes processes wait for each other.

    The stamp has a digest of `sources`: when these change, the folder is installed again.
    """
    digest = sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()
    stamp = folder / "installed"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = not stamp.exists() or stamp.read_text(encoding="utf-8") != digest
        yield missing
        if missing:
            stamp.write_text(digest, encoding="utf-8")


def _run(command: Sequence[str | Path], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", timeout=600, check=False)
    except FileNotFoundError as error:
        cannot(f"there is no {error.filename}")
    if done.returncode:
        cannot(f"{Path(command[0]).name} cannot install: {done.stderr[-300:]}")
