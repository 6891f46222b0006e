"""The one reader of JSON bodies. Python's own lets NaN, keys given twice and half characters pass."""

import json
import math
from typing import Any

from flask import Request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

MAX_BYTES = 256 * 1024
# werkzeug cuts a body without a length here, and does not say so: one byte more tells.
READ_AT_MOST = MAX_BYTES + 1
MAX_DEPTH = 16
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"


def read_body(request: Request) -> Any:
    """Raises what is answered 400, 413 or 415."""
    charset = request.mimetype_params.get("charset", "utf-8")
    if request.mimetype != "application/json" or charset.lower() != "utf-8":
        raise UnsupportedMediaType("send application/json in UTF-8")
    body = request.get_data()
    if len(body) > MAX_BYTES:
        raise RequestEntityTooLarge
    try:
        return parse(body)
    except ValueError as error:
        raise BadRequest(f"not JSON as RFC 8259 has it: {error}") from None


def parse(body: bytes) -> Any:
    """ValueError says what is wrong with it, without repeating what it holds."""
    text = body.decode("utf-8")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_float=_finite, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    # What has so few brackets cannot be deep: most bodies need no second look.
    if text.count("[") + text.count("{") > MAX_DEPTH and _deeper_than(MAX_DEPTH, value):
        raise ValueError(TOO_DEEP)
    if "\\u" in text:
        _refuse_half_characters(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("an object has a key twice")
    return fields


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is out of range")
    return number


def _refuse_constant(_: str) -> None:
    raise ValueError("NaN and Infinity are not numbers here")


def _deeper_than(levels: int, value: Any) -> bool:
    if not isinstance(value, dict | list):
        return False
    if not levels:
        return True
    return any(_deeper_than(levels - 1, item) for item in (value.values() if isinstance(value, dict) else value))


def _refuse_half_characters(value: Any) -> None:
    """An escape can name half a surrogate pair, which no UTF-8 can carry any further."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("an escape names half a surrogate pair") from None
