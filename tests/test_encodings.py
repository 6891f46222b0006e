"""Text is read and written with an explicit encoding, also in calls that Ruff's PLW1514 does not recognise."""

import ast
from collections.abc import Iterator

import pytest

from app.devkit.install import ROOT

OPENED_AS_TEXT = {"read_text", "write_text", "fdopen"}


def calls_without_encoding(source: str) -> Iterator[int]:
    """Line numbers of calls that leave the encoding to the locale."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and _is_text(node)
            and "encoding" not in {keyword.arg for keyword in node.keywords}
        ):
            yield node.lineno


def _is_text(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    constants = [each.value for each in (*call.args, *(keyword.value for keyword in call.keywords)) if _is_mode(each)]
    if name in OPENED_AS_TEXT:
        return not any("b" in constant for constant in constants)
    if name == "open" and any("t" in constant for constant in constants):
        return True
    return any(keyword.arg in ("text", "universal_newlines") and _is_true(keyword.value) for keyword in call.keywords)


def _is_mode(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and set(node.value) <= set("rwxabt+")


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("self.folder.read_text()", [1]),
        ("(path / 'a').write_text(\n'abc', newline='')", [1]),
        ("os.fdopen(number, 'w')", [1]),
        ("os.fdopen(number, 'wb')", []),
        ("gzip.open(path, 'rt')", [1]),
        ("gzip.open(path)", []),
        ("\nsubprocess.run(command, text=True)", [2]),
        ("subprocess.run(command, text=True, encoding='utf-8')", []),
        ("path.read_text(encoding='utf-8')", []),
        ("Cell(text=True and 'no')", []),
    ],
)
def test_such_a_call_is_found(source: str, lines: list[int]) -> None:
    assert list(calls_without_encoding(source)) == lines


def test_each_says_its_encoding() -> None:
    files = [file for folder in ("app", "workers", "tests") for file in (ROOT / folder).rglob("*.py")]
    found = [f"{file}:{line}" for file in files for line in calls_without_encoding(file.read_text(encoding="utf-8"))]
    assert len(files) > 400
    assert found == []
