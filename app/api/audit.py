"""Who changed what, when, from where: one line in the log for each change that was asked for."""

import re

from flask import Flask, Response, g, request

from app import logs
from app.api.access import READING

ID = re.compile(r"[a-z]{3}_[0-9a-z]{1,40}|[0-9a-f]{12}")


def register(app: Flask) -> None:
    app.after_request(_write)


def _write(response: Response) -> Response:
    asked = request._get_current_object()  # type: ignore[attr-defined] # once: each look through the proxy costs
    principal = g.get("principal")
    if asked.method in READING or principal is None:
        return response
    ids = {name: value for name, value in (asked.view_args or {}).items() if ID.fullmatch(value)}
    logs.event(
        "audit",
        tenant=principal.tenant,
        key_id=principal.key_id,
        address=asked.remote_addr,
        method=asked.method,
        route=asked.url_rule.rule if asked.url_rule else None,
        **ids,
        location=response.headers.get("Location"),
        status=response.status_code,
        request_id=g.request_id,
    )
    return response
