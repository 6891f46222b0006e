"""Who changed what, when, from where: one line in the log for each change that was asked for."""

import re

from flask import Flask, Response, g, request

from app import logs
from app.api.access import READING

ID = re.compile(r"[a-z]{3}_[0-9a-z]{1,40}|[0-9a-f]{12}")


def register(app: Flask) -> None:
    app.after_request(_write)


def _write(response: Response) -> Response:
    if request.method in READING or "principal" not in g:
        return response
    ids = {name: value for name, value in (request.view_args or {}).items() if ID.fullmatch(value)}
    logs.event(
        "audit",
        tenant=g.principal.tenant,
        key_id=g.principal.key_id,
        address=request.remote_addr,
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        **ids,
        location=response.headers.get("Location"),
        status=response.status_code,
        request_id=g.request_id,
    )
    return response
