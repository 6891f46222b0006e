"""Reads the API's answers: they may come from another version of the bridge, or from a proxy in between."""

from collections.abc import Iterable, Mapping
from typing import Any

from app.domain.errors import OperatorError
from app.domain.foreign_json import exact_text, integer

Answer = Mapping[str, Any]


class UnreadableAnswer(OperatorError):
    """The API answered, but not with what the command needs."""


def required_text(answer: Answer, name: str) -> str:
    """Returns an id, a state or a cursor, of printable ASCII characters. Raises UnreadableAnswer."""
    value = exact_text(answer.get(name))
    if value is None or not (value.isascii() and value.isprintable()):
        raise _lacks(name)
    return value


def required_count(answer: Answer, name: str) -> int:
    """Returns an integer field. Raises UnreadableAnswer."""
    value = integer(answer.get(name))
    if value is None:
        raise _lacks(name)
    return value


def required_records(answer: Answer, name: str) -> list[Answer]:
    """Returns a list field without what is not an object in it. Raises UnreadableAnswer."""
    if not isinstance(answer.get(name), list):
        raise _lacks(name)
    return records(answer.get(name))


def records(value: object) -> list[Answer]:
    """Returns the objects of a list; none if it is not a list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def record(value: object) -> Answer:
    """Returns an empty object for anything else."""
    return value if isinstance(value, dict) else {}


def error_of(job: Answer) -> str | None:
    """Returns `CPS.0005: no such phone`, or the part of it that is there."""
    return ": ".join(_texts((job.get("error_code"), job.get("error_msg")))) or None


def counts_of(value: object) -> str:
    """Returns `2 running, 1 failed`: those of the counts that are not zero."""
    counts = {name: integer(number) for name, number in record(value).items()}
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number)


def _texts(values: Iterable[object]) -> Iterable[str]:
    return (value for value in values if isinstance(value, str) and value)


def _lacks(name: str) -> UnreadableAnswer:
    return UnreadableAnswer(f"the API's answer has no {name}: check --api, BRIDGE_URL, and the versions of both sides")
