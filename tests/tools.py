"""Heavy tools of some tests, which `./dev chart` installs: without them these are skipped, but not in CI."""

import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from app.settings import variables

INSTALL = "`./dev chart` installs it"


def missing(what: str, remedy: str) -> None:
    """Skips the test, and says why; where CI is true, it fails."""
    if variables().get("CI") == "true":
        pytest.fail(f"{what} is missing: {remedy}")
    pytest.skip(f"{what} is missing: {remedy}")


def module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return missing(name, INSTALL)


def program(name: str, remedy: str = INSTALL) -> str:
    """Its path, in .venv or on PATH."""
    ours = Path(sys.executable).with_name(name)
    found = str(ours) if ours.exists() else shutil.which(name)
    if not found:
        missing(name, remedy)
    return str(found)
