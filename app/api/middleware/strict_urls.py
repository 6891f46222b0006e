"""Paths and queries taken literally: whatever two programs could read in two ways is refused."""

from urllib.parse import parse_qsl

from flask import Flask, Request
from flask.globals import request_ctx
from werkzeug.exceptions import NotFound

from app.api.input.validation import InvalidInput

MOST_PARAMETERS = 32


def register(app: Flask) -> None:
    app.before_request(_refuse_encoded_path)


def _refuse_encoded_path() -> None:
    """No path of ours needs `%`: with it, what an ingress lets pass might be another path than the one it checked."""
    asked = request_ctx.request
    sent = asked.environ.get("RAW_URI") or asked.environ.get("REQUEST_URI") or asked.path
    if "%" in sent.partition("?")[0]:
        raise NotFound


def query(request: Request) -> dict[str, str]:
    """By name. Raises what is answered 422."""
    if not request.query_string:
        return {}
    try:
        pairs = parse_qsl(
            request.query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except ValueError:
        raise InvalidInput([{"pointer": "/query", "detail": "not a query in UTF-8, or too long a one"}]) from None
    values = dict(pairs)
    if len(values) < len(pairs):
        name = next(name for name in values if [each for each, _ in pairs].count(name) > 1)
        raise InvalidInput([{"pointer": f"/query/{name}", "detail": "is there twice"}])
    return values
