"""Validates the caller's input into models. Errors name the field by JSON pointer and never quote its value."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.domain.errors import CallerError

Model = TypeVar("Model", bound=BaseModel)

MAX_FAULTS = 50
SIMILARITY = 0.75  # of 1: a typo or two, but not another word
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
        raise InvalidInput([_fault(model, fault, under) for fault in faults]) from None


def _fault(model: type[BaseModel], fault: Mapping[str, Any], under: str) -> dict[str, str]:
    detail = DETAILS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden" and (meant := _nearest_field(model, str(fault["loc"][-1]))):
        detail += f"; did you mean {meant}?"
    return {"pointer": under + pointer(fault["loc"]), "detail": detail}


def _nearest_field(model: type[BaseModel], name: str) -> str | None:
    """Returns the field that an unknown one may have meant: jobId, Job-ID and job_di mean job_id."""
    names = {_plain(field): field for field in model.model_fields}
    nearest = get_close_matches(_plain(name), names, n=1, cutoff=SIMILARITY)
    return names[nearest[0]] if nearest else None


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def pointer(path: Iterable[str | int]) -> str:
    """Returns a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
