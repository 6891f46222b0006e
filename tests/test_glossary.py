"""The glossary (docs/architecture/glossary.md) matches the code, and no two types have the same name."""

import ast
import re
from collections import defaultdict

from tests.support.paths import DOCS, ROOT

ROW = re.compile(r"^\| (?P<word>[^|]+) \| (?P<type>[^|]+) \| (?P<meaning>[^|]+) \|$", re.MULTILINE)
IDEA = "*idea*"


def rows() -> list[re.Match[str]]:
    found = list(ROW.finditer((DOCS / "architecture" / "glossary.md").read_text(encoding="utf-8")))[1:]
    assert len(found) > 40
    return found


def types_in(*folders: str) -> dict[str, list[str]]:
    """For each name of a class, the modules that define it."""
    defined = defaultdict(list)
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*.py")):
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    defined[node.name].append(module)
    return defined


def test_each_word_is_there_once_and_in_order() -> None:
    words = [row["word"] for row in rows()]
    assert words == sorted(set(words))


def test_each_word_names_a_type_or_is_marked_as_an_idea() -> None:
    defined = types_in("app", "workers")
    for row in rows():
        if row["type"] != IDEA:
            module, _, name = row["type"].strip("`").rpartition(".")
            assert defined.get(name) == [module], row["word"]


def test_no_two_words_name_one_type() -> None:
    types = [row["type"] for row in rows() if row["type"] != IDEA]
    assert len(types) == len(set(types))


def test_each_meaning_is_one_short_sentence_or_two() -> None:
    for row in rows():
        assert row["meaning"].endswith("."), row["word"]
        assert len(row["meaning"]) <= 120, row["word"]


def test_no_type_name_is_defined_twice() -> None:
    twice = {name: modules for name, modules in types_in("app", "workers", "tests").items() if len(modules) > 1}
    assert twice == {}
