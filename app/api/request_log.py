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
    known = g._get_current_object()  # once: each look through the proxy costs
    response.headers["X-Request-Id"] = known.request_id
    rule = request.url_rule
    logs.event(
        "api.request",
        method=request.method,
        route=rule.rule if rule else None,
        status=response.status_code,
        took_ms=round((time.perf_counter() - known.started) * 1000, 1),
        request_id=known.request_id,
        trace_id=known.get("trace_id"),
        tenant=known.principal.tenant if "principal" in known else None,
    )
    return response
