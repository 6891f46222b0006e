"""Parses YAML files of operators into validated models; error messages never quote a value."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from app.domain.errors import OperatorError

Value = TypeVar("Value")


class Strict(BaseModel):
    """A frozen model that rejects unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read(file: Path, parse: Callable[[str], Value], describe: Callable[[Any], str]) -> Value:
    """Returns `parse` of the file's text. The OperatorError has `describe` of each pydantic error."""
    text = content(file)
    try:
        return parse(text)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise OperatorError(f"{file}: {line}{error.problem}") from None
    except yaml.YAMLError:
        raise OperatorError(f"{file}: not YAML") from None
    except ValidationError as error:
        raise OperatorError(f"{file}: {'; '.join(describe(problem) for problem in error.errors())}") from None
    except RecursionError:
        raise OperatorError(f"{file}: nested too deep") from None
    except ValueError:  # such as the date 2026-13-45
        raise OperatorError(f"{file}: not YAML: a value looks like a date or a number, but is none") from None


def load(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506 - it is a SafeLoader


def content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise OperatorError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise OperatorError(f"cannot read {file}: not UTF-8") from None


def describe_problem(problem: Any, path: str) -> str:
    match problem["type"]:
        case "extra_forbidden":
            return f"{path}: unknown field"
        case "missing":
            return f"{path}: is missing"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{path}: must be a mapping, `name: value`".removeprefix(": ")
        case _:
            return f"{path}: {problem['msg'].removeprefix('Value error, ')}".removeprefix(": ")


class _Loader(yaml.SafeLoader):
    """A SafeLoader that rejects duplicate keys instead of dropping the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key.value}", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)
