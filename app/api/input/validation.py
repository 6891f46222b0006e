"""Validates the caller's input into models. Errors name the field by JSON pointer and never quote its value."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.domain.errors import CallerError

Model = TypeVar("Model", bound=BaseModel)

MAX_FAULTS = 50
DETAILS = {"extra_forbidden": "unknown field", "missing": "is missing", "model_type": "must be an object"}


class InvalidInput(CallerError):
    """Fields are invalid. faults: the `errors` of the answer."""

    def __init__(self, faults: Sequence[Mapping[str, str]]) -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults = faults


def validated(model: type[Model], values: Any, under: str = "") -> Model:
    """Raises InvalidInput. under: JSON pointer prefix of the values, e.g. `/query`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_FAULTS]
        raise InvalidInput([_fault(fault, under) for fault in faults]) from None


def _fault(fault: Mapping[str, Any], under: str) -> dict[str, str]:
    detail = DETAILS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
    return {"pointer": under + pointer(fault["loc"]), "detail": detail}


def pointer(path: Iterable[str | int]) -> str:
    """Returns a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
