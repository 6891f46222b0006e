"""Each request has an id, one line in the log, and its time measured; never its body, its query or its key."""

import re
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request

from app import logs
from app.metrics.counts import Counts
from app.metrics.measured import REQUESTS

if TYPE_CHECKING:
    from app.tracing import Tracing

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def register(app: Flask, counts: Counts, tracing: "Tracing | None") -> None:
    """Before all that may refuse a request: refusals carry the id too."""
    app.before_request(_begin)
    app.after_request(partial(_end, counts, tracing))


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
    g.started = time.perf_counter()


def _end(counts: Counts, tracing: "Tracing | None", response: Response) -> Response:
    known = g._get_current_object()  # once: each look through the proxy costs
    took_s = time.perf_counter() - known.started
    route = request.url_rule.rule if request.url_rule else None
    # A method that somebody has made up is no label.
    method = request.method if request.method in METHODS else "other"
    counts.observe(REQUESTS, took_s, method, route or "none", str(response.status_code))
    response.headers["X-Request-Id"] = known.request_id
    if tracing:
        name = f"{method} {route or 'none'}"
        traceparent = request.headers.get("traceparent")
        tracing.requested(traceparent, name, took_s, response.status_code, request_id=known.request_id)
    logs.event(
        "api.request",
        method=request.method,
        route=route,
        status=response.status_code,
        took_ms=round(took_s * 1000, 1),
        request_id=known.request_id,
        trace_id=known.get("trace_id"),
        tenant=known.principal.tenant if "principal" in known else None,
    )
    return response
