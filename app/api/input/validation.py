"""From what a caller sent to our models; what is wrong is named by a JSON pointer and never repeated."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.domain.errors import CallerError

Model = TypeVar("Model", bound=BaseModel)

MOST_FAULTS = 50
WORDS = {"extra_forbidden": "unknown field", "missing": "is missing", "model_type": "must be an object"}


class InvalidInput(CallerError):
    """Fields are wrong. faults: the `errors` of the answer."""

    def __init__(self, faults: Sequence[Mapping[str, str]]) -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults = faults


def validated(model: type[Model], values: Any, under: str = "") -> Model:
    """under: pointer of the place where the values stood, e.g. `/query`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)[:MOST_FAULTS]
        raise InvalidInput([_fault(fault, under) for fault in faults]) from None


def _fault(fault: Mapping[str, Any], under: str) -> dict[str, str]:
    detail = WORDS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
    return {"pointer": under + pointer(fault["loc"]), "detail": detail}


def pointer(path: Iterable[str | int]) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
