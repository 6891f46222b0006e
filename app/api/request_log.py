"""Each request has an id, and one line in the log; never its body, its query or its key."""

import re
import secrets
import time

from flask import Flask, Response, g, request

from app import logs

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def register(app: Flask) -> None:
    """Before all that may refuse a request: refusals carry the id too."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
    g.started = time.perf_counter()


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    logs.event(
        "api.request",
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        took_ms=round((time.perf_counter() - g.started) * 1000, 1),
        request_id=g.request_id,
        trace_id=g.get("trace_id"),
        tenant=g.principal.tenant if "principal" in g else None,
    )
    return response
