"""Gives each request an id, measures its duration and logs one line, never with its body, query or key.

The line is `api.request`, or `audit` for an authenticated write: it adds the key, the client address and the object.
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
from app.api.auth.authentication import READ_METHODS
from app.domain.access import Principal
from app.observability.metric_definitions import REQUESTS
from app.observability.metric_registry import MetricRegistry

if TYPE_CHECKING:
    from app.observability.tracing import Tracing

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
ID = re.compile(r"[a-z]{3}_[0-9a-z]{1,40}|[0-9a-f]{12}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def register(app: Flask, metrics: MetricRegistry, tracing: "Tracing | None") -> None:
    """Must be called before anything is registered that may refuse a request: refusals carry the id too."""
    app.before_request(_begin)
    app.after_request(partial(_end, metrics, tracing))


def _begin() -> None:
    given = request_ctx.request.headers.get("X-Request-Id", "")
    state = app_ctx.g
    state.request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
    state.started = time.perf_counter()


def _end(metrics: MetricRegistry, tracing: "Tracing | None", response: Response) -> Response:
    # Read once: each access through Flask's proxies costs time.
    request, state = request_ctx.request, app_ctx.g
    took_s = time.perf_counter() - state.started
    route = request.url_rule.rule if request.url_rule else None
    # An invented method must not become a metric label.
    method = request.method if request.method in METHODS else "other"
    metrics.observe(REQUESTS, took_s, method, route or "none", str(response.status_code))
    response.headers["X-Request-Id"] = state.request_id
    if tracing:
        name = f"{method} {route or 'none'}"
        traceparent = request.headers.get("traceparent")
        tracing.record_request(traceparent, name, took_s, response.status_code, request_id=state.request_id)
    principal: Principal | None = state.get("principal")
    audit_fields = (
        dict(_audit_fields(request, principal, response)) if principal and request.method not in READ_METHODS else {}
    )
    logs.event(
        "audit" if audit_fields else "api.request",
        method=request.method,
        route=route,
        status=response.status_code,
        took_ms=round(took_s * 1000, 1),
        request_id=state.request_id,
        trace_id=state.get("trace_id"),
        tenant=principal.tenant if principal else None,
        **audit_fields,
    )
    return response


def _audit_fields(request: Request, principal: Principal, response: Response) -> Iterator[tuple[str, Any]]:
    """Yields the audit fields: key, client address, and the ids of the objects concerned."""
    yield "key_id", principal.key_id
    # A socket of both families has IPv4 clients as ::ffff:192.0.2.1.
    yield "address", (request.remote_addr or "").removeprefix("::ffff:")
    yield "location", response.headers.get("Location")
    yield from ((name, value) for name, value in (request.view_args or {}).items() if ID.fullmatch(value))
