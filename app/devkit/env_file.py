"""Reads settings from a file in the format of docker's --env-file: one NAME=value per line, no quoting."""

from collections.abc import Iterator
from pathlib import Path

from app.config.settings import PREFIX
from app.devkit.bridge import MANAGED_SETTINGS
from app.domain.errors import OperatorError


def read(path: Path) -> dict[str, str]:
    """Returns settings by name; the last of a repeated name wins.

    Raises OperatorError that names the line and the mistake, never a value.
    """
    settings = {}
    for number, line in _lines(path):
        name, equals, value = line.partition("=")
        if mistake := _mistake(name, equals, value):
            raise OperatorError(f"{path}, line {number}: {mistake}")
        settings[name] = value
    return settings


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields line number and text, without blank lines and comments."""
    try:
        content = path.read_bytes()
        decoded = content.decode("utf-8-sig")
    except OSError as error:
        raise OperatorError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise OperatorError(f"{path}, line {number}: is not UTF-8") from None
    for number, line in enumerate(decoded.split("\n"), start=1):
        text = line.removesuffix("\r").lstrip(" \t")
        if text and not text.startswith("#"):
            yield number, text


def _mistake(name: str, equals: str, value: str) -> str | None:
    if not equals:
        return "must be NAME=value"
    if not name.isidentifier() or not name.isascii():
        return "the name before = must consist of letters, digits and _, without blanks"
    if not name.startswith(PREFIX):
        # The name is left out too: the line may be the second half of a secret that was split across lines.
        return f"is not a setting of the bridge: their names begin with {PREFIX}"
    if name.startswith(MANAGED_SETTINGS):
        return f"{name} is set by ./dev run, which has its own Redis, addresses and keys: remove the line"
    return "the value contains a NUL character" if "\0" in value else None
