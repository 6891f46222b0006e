"""Parses paths and queries strictly: refuses any that two programs could interpret differently."""

from urllib.parse import parse_qsl

from flask import Flask, Request
from flask.globals import request_ctx
from werkzeug.exceptions import NotFound

from app.api.input.validation import InvalidInput

MAX_PARAMETERS = 32


def register(app: Flask) -> None:
    app.before_request(_refuse_ambiguous_path)


def _refuse_ambiguous_path() -> None:
    """Refuses what might make a path differ from the one that an ingress checked: `%`, which no API path needs, `//` at
    the start, which werkzeug reads as `/`, and `#`, after which gunicorn reads no further."""
    request = request_ctx.request
    sent = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or request.path
    path = request.environ.get("PATH_INFO", "")
    if "%" in sent.partition("?")[0] or "#" in sent or path.startswith("//"):
        raise NotFound


def query(request: Request) -> dict[str, str]:
    """Returns the values by parameter name. Raises InvalidInput (422)."""
    if not request.query_string:
        return {}
    try:
        pairs = parse_qsl(
            request.query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except ValueError:
        detail = f"must be percent-encoded UTF-8, with at most {MAX_PARAMETERS} parameters"
        raise InvalidInput([{"pointer": "/query", "detail": detail}]) from None
    values = dict(pairs)
    if len(values) < len(pairs):
        name = next(name for name in values if [each for each, _ in pairs].count(name) > 1)
        raise InvalidInput([{"pointer": f"/query/{name}", "detail": "must not be repeated"}])
    return values
