"""Reads JSON bodies. Python's own parser accepts NaN, duplicate keys and lone surrogates; this one does not."""

import codecs
import json
import math
from typing import Any

from flask import Request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.exceptions import NotImplemented as UnknownTransferCoding

MAX_BYTES = 256 * 1024
# werkzeug silently truncates a body without Content-Length at its limit: one byte more shows that it was too large.
MAX_READ_BYTES = MAX_BYTES + 1
MAX_DEPTH = 16
MAX_DIGITS = 4_000  # Python refuses to parse more than 4,300
# Many programs write it without its hyphen.
UTF_8 = frozenset({"utf-8", "utf8"})
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"


def read_body(request: Request) -> Any:
    """Raises HTTPException: BadRequest (400), RequestEntityTooLarge (413), UnsupportedMediaType (415) and others."""
    _check_headers(request)
    body = request.get_data()
    if len(body) > MAX_BYTES:
        raise RequestEntityTooLarge
    if request.content_length is not None and len(body) < request.content_length:
        raise BadRequest("the body is shorter than its Content-Length")
    try:
        return parse(body)
    except ValueError as error:
        raise BadRequest(f"not valid JSON (RFC 8259): {error}") from None


def _check_headers(request: Request) -> None:
    if _codings(request, "Content-Encoding") - {"identity"}:
        raise UnsupportedMediaType("Content-Encoding is not supported: send the body uncompressed, without this header")
    if _codings(request, "Transfer-Encoding") - {"chunked"}:
        raise UnknownTransferCoding("Transfer-Encoding may only be chunked: send the body uncompressed")
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("send JSON, with Content-Type: application/json")
    if request.mimetype_params.get("charset", "utf-8").lower() not in UTF_8:
        raise UnsupportedMediaType("the charset in Content-Type may only be utf-8: send the JSON in UTF-8")


def _codings(request: Request, header: str) -> set[str]:
    return {coding.strip().lower() for coding in request.headers.get(header, "").split(",")} - {""}


def parse(body: bytes) -> Any:
    """Raises ValueError, whose message says what is wrong and where, and never quotes the body."""
    if not body.strip():
        raise ValueError("the body is empty")
    if body.startswith(codecs.BOM_UTF8):
        raise ValueError("it begins with a byte order mark; leave it out")
    try:
        text = body.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_float=_finite,
            parse_int=_integer,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the fault is in line {error.lineno}, column {error.colno}") from None
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


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("a number is out of range")
    return int(text)


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
