"""What tests need of others: heavy tools that `./dev chart` installs, and packages that go into .dev when first used.

Tests without them, as on a laptop without a network, are skipped; in CI they fail.
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
    """Skips the test, and says why; where CI is true, it fails."""
    if variables().get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        cannot(f"{name} is missing: {INSTALL}")


def program(name: str, remedy: str = INSTALL) -> str:
    """Its path, in .venv or on PATH."""
    ours = Path(sys.executable).with_name(name)
    found = str(ours) if ours.exists() else shutil.which(name)
    return found or cannot(f"{name} is missing: {remedy}")


def npm_packages(wanted: Path, name: str) -> Path:
    """The folder in which they are installed, of that name. wanted: a folder with package.json and its lock."""
    folder = DEV / name
    with _once(folder, [wanted / file for file in LOCKED]) as missing:
        if missing:
            for file in LOCKED:
                shutil.copy(wanted / file, folder / file)
            _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    return folder


def python_packages(requirements: Path, name: str) -> Path:
    """The Python of a venv of their own, in a folder of that name."""
    folder = DEV / name
    with _once(folder, [requirements]) as missing:
        if missing:
            _run([sys.executable, "-m", "venv", "--clear", "venv"], folder)
            pip = [folder / "venv" / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install"]
            _run([*pip, "--quiet", "--requirement", requirements], folder)
    return folder / "venv" / "bin" / "python"


def locales(folder: Path) -> Path:
    """The folder, with zh_CN.GBK and de_DE.ISO-8859-1 in it."""
    localedef = program("localedef", LOCALES)
    for language, charset in (("zh_CN", "GBK"), ("de_DE", "ISO-8859-1")):
        command = [localedef, "--no-archive", "-i", language, "-f", charset, folder / f"{language}.{charset}"]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            cannot(f"localedef cannot make {charset}: {LOCALES}")
    return folder


@contextmanager
def _once(folder: Path, made_of: Sequence[Path]) -> Iterator[bool]:
    """True if it is not installed as it should be; what others install meanwhile is waited for."""
    wanted = sha256(b"".join(file.read_bytes() for file in made_of)).hexdigest()
    stamp = folder / "installed"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted
        yield missing
        if missing:
            stamp.write_text(wanted, encoding="utf-8")


def _run(command: Sequence[str | Path], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", timeout=600, check=False)
    except FileNotFoundError as error:
        cannot(f"there is no {error.filename}")
    if done.returncode:
        cannot(f"{Path(command[0]).name} cannot install: {done.stderr[-300:]}")
