"""Each request has an id, its time measured, and one line in the log; never its body, its query or its key.

The line is `api.request`, or `audit` where somebody with a key asked for a change: it says who, from where, of what.
"""

import re
import secrets
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response
from flask.globals import app_ctx, request_ctx

from app import logs
from app.api.auth.authentication import READING
from app.domain.access import Principal
from app.observability.metric_definitions import REQUESTS
from app.observability.metric_registry import MetricRegistry

if TYPE_CHECKING:
    from app.observability.tracing import Tracing

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
ID = re.compile(r"[a-z]{3}_[0-9a-z]{1,40}|[0-9a-f]{12}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def register(app: Flask, counts: MetricRegistry, tracing: "Tracing | None") -> None:
    """Before all that may refuse a request: refusals carry the id too."""
    app.before_request(_begin)
    app.after_request(partial(_end, counts, tracing))


def _begin() -> None:
    given = request_ctx.request.headers.get("X-Request-Id", "")
    known = app_ctx.g
    known.request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
    known.started = time.perf_counter()


def _end(counts: MetricRegistry, tracing: "Tracing | None", response: Response) -> Response:
    # Once: each look through Flask's proxies costs.
    asked, known = request_ctx.request, app_ctx.g
    took_s = time.perf_counter() - known.started
    route = asked.url_rule.rule if asked.url_rule else None
    # A method that somebody has made up is no label.
    method = asked.method if asked.method in METHODS else "other"
    counts.observe(REQUESTS, took_s, method, route or "none", str(response.status_code))
    response.headers["X-Request-Id"] = known.request_id
    if tracing:
        name = f"{method} {route or 'none'}"
        traceparent = asked.headers.get("traceparent")
        tracing.requested(traceparent, name, took_s, response.status_code, request_id=known.request_id)
    principal: Principal | None = known.get("principal")
    change = dict(_change(asked, principal, response)) if principal and asked.method not in READING else {}
    logs.event(
        "audit" if change else "api.request",
        method=asked.method,
        route=route,
        status=response.status_code,
        took_ms=round(took_s * 1000, 1),
        request_id=known.request_id,
        trace_id=known.get("trace_id"),
        tenant=principal.tenant if principal else None,
        **change,
    )
    return response


def _change(asked: Request, principal: Principal, response: Response) -> Iterator[tuple[str, Any]]:
    """Who asked, from where, and of what."""
    yield "key_id", principal.key_id
    yield "address", asked.remote_addr
    yield "location", response.headers.get("Location")
    yield from ((name, value) for name, value in (asked.view_args or {}).items() if ID.fullmatch(value))
