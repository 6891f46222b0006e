"""Reads JSON bodies. Python's own parser accepts NaN, duplicate keys and lone surrogates; this one does not."""

import json
import math
from typing import Any

from flask import Request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

MAX_BYTES = 256 * 1024
# werkzeug silently truncates a body without Content-Length at its limit: one byte more shows that it was too large.
MAX_READ_BYTES = MAX_BYTES + 1
MAX_DEPTH = 16
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"


def read_body(request: Request) -> Any:
    """Raises BadRequest (400), RequestEntityTooLarge (413) or UnsupportedMediaType (415)."""
    charset = request.mimetype_params.get("charset", "utf-8")
    if request.mimetype != "application/json" or charset.lower() != "utf-8":
        raise UnsupportedMediaType("send application/json in UTF-8")
    body = request.get_data()
    if len(body) > MAX_BYTES:
        raise RequestEntityTooLarge
    try:
        return parse(body)
    except ValueError as error:
        raise BadRequest(f"not valid JSON (RFC 8259): {error}") from None


def parse(body: bytes) -> Any:
    """Raises ValueError, whose message never quotes the body."""
    text = body.decode("utf-8")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_float=_finite, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    # A body with few brackets cannot be nested deeply: most bodies need no second pass.
    if text.count("[") + text.count("{") > MAX_DEPTH and _deeper_than(MAX_DEPTH, value):
        raise ValueError(TOO_DEEP)
    if "\\u" in text:
        _refuse_lone_surrogates(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("an object has a duplicate key")
    return fields


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is out of range")
    return number


def _refuse_constant(_: str) -> None:
    raise ValueError("NaN and Infinity are not allowed")


def _deeper_than(levels: int, value: Any) -> bool:
    if not isinstance(value, dict | list):
        return False
    if not levels:
        return True
    return any(_deeper_than(levels - 1, item) for item in (value.values() if isinstance(value, dict) else value))


def _refuse_lone_surrogates(value: Any) -> None:
    """Refuses lone surrogates, which a JSON escape can produce but UTF-8 cannot encode."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("an escape is a lone surrogate") from None
