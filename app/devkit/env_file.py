"""Settings in a file, written as for docker's --env-file: NAME=value, a line each, nothing quoted."""

from collections.abc import Iterator
from pathlib import Path

from app.config.settings import PREFIX
from app.devkit.bridge import CHOSEN
from app.domain.errors import OperatorError


def read(path: Path) -> dict[str, str]:
    """By name; of a name given twice the last. OperatorError names the line and what is wrong, never a value."""
    settings = {}
    for number, line in _lines(path):
        name, equals, value = line.partition("=")
        if wrong := _wrong(name, equals, value):
            raise OperatorError(f"{path}, line {number}: {wrong}")
        settings[name] = value
    return settings


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Those that say something, with their numbers."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise OperatorError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise OperatorError(f"{path}, line {number}: is not UTF-8") from None
    for number, line in enumerate(text.split("\n"), start=1):
        said = line.removesuffix("\r").lstrip(" \t")
        if said and not said.startswith("#"):
            yield number, said


def _wrong(name: str, equals: str, value: str) -> str | None:
    if not equals:
        return "must be NAME=value"
    if not name.isidentifier() or not name.isascii():
        return "before = must stand a name, of letters, digits and _, without blanks"
    if not name.startswith(PREFIX):
        # Not even its name is told: the line may be the rest of a secret that was broken in two.
        return f"is no setting of the bridge: their names begin with {PREFIX}"
    if name.startswith(CHOSEN):
        return f"{name} is chosen by ./dev run itself, which has its own Redis, addresses and keys: leave it out"
    return "the value holds a NUL character" if "\0" in value else None
