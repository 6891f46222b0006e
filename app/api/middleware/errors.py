"""Renders errors as RFC 9457 problems. `type` is `about:blank` if the status alone identifies the problem."""

import json
import logging
import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g
from gunicorn.http.errors import NoMoreData, ParseException  # type: ignore[import-untyped] # gunicorn has none
from pydantic import BaseModel
from werkzeug.exceptions import HTTPException, NotFound, default_exceptions

from app import logs
from app.api.input.validation import InvalidInput
from app.domain.errors import InvalidField, NearlyFull, OperatorError, Unavailable, UnfitRedis
from app.domain.quota import Quota, QuotaReached

MEDIA_TYPE = "application/problem+json"
INVALID_FIELD = "/problems/invalid-field"
RETRY_AFTER_S = 2
FULL_RETRY_AFTER_S = 30
QUOTA_REACHED = "/problems/quota-reached"
INCOMPLETE_BODY = "The body is incomplete, or its chunked encoding is malformed."
DETAILS = {
    400: INCOMPLETE_BODY,  # werkzeug's only use of it here: the client disconnects
    404: "No such path; `/openapi.json` lists them.",
    405: "The path has no such method; `Allow` lists those that it has.",
    413: "The body is larger than 256 KiB.",
}


class FieldError(BaseModel):
    """pointer: JSON pointer (RFC 6901) into the body; `/query/…` or `/headers/…` for a query parameter or a header."""

    pointer: str
    detail: str


class NoSuchId(NotFound):
    description = "No such id: it is unknown, past its retention, or another tenant's."


class Problem(BaseModel):
    """The body of every error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldError] | None = None
    hint: str | None = None


def register(app: Flask) -> None:
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(InvalidInput, _invalid_input)
    app.register_error_handler(InvalidField, _invalid_field)
    app.register_error_handler(QuotaReached, _quota_reached)
    app.register_error_handler(NearlyFull, _nearly_full)
    app.register_error_handler(Unavailable, _unavailable)
    app.register_error_handler(UnfitRedis, _unfit_redis)
    app.register_error_handler(OperatorError, _misconfigured)
    app.register_error_handler(ParseException, _unreadable_body)
    app.register_error_handler(NoMoreData, _unreadable_body)
    app.register_error_handler(Exception, _internal_error)


def _http(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
    # werkzeug's own descriptions are written for people in front of a browser.
    is_ours = error.description != default_exceptions[status].description
    return _problem(
        status, (error.description if is_ours else DETAILS.get(status)) or HTTPStatus(status).phrase, headers
    )


def _invalid_input(error: InvalidInput) -> Response:
    return _wrong_fields(error.faults)


def _invalid_field(error: InvalidField) -> Response:
    return _wrong_fields([{"pointer": error.pointer, "detail": error.detail}], error.hint)


def _wrong_fields(faults: Sequence[Mapping[str, str]], hint: str | None = None) -> Response:
    more: dict[str, Any] = {"hint": hint} if hint else {}
    return _problem(
        422, "The request is invalid; `errors` lists the fields.", type=INVALID_FIELD, errors=faults, **more
    )


def _quota_reached(error: QuotaReached) -> Response:
    """The quota of requests resets every minute. When other quotas become free is unknown."""
    retry_after = g.allowance.resets_in if error.quota is Quota.REQUESTS else FULL_RETRY_AFTER_S
    headers = {"Retry-After": str(retry_after)}
    return _problem(
        429, f"The tenant's quota of {error.quota} is reached.", headers, type=QUOTA_REACHED, hint=error.remedy
    )


def _nearly_full(error: NearlyFull) -> Response:
    logs.event("api.nearly_full", level=logging.ERROR, request_id=g.request_id, reason=str(error))
    hint = "Existing registrations continue; reads and cancellations still work."
    detail = "Redis is nearly full; new registrations are refused."
    return _problem(503, detail, {"Retry-After": str(FULL_RETRY_AFTER_S)}, hint=hint)


def _unavailable(error: Unavailable) -> Response:
    logs.event("api.unavailable", level=logging.WARNING, request_id=g.request_id, reason=str(error))
    hint = "Retry; send a POST with an Idempotency-Key, because this one may have taken effect."
    detail = "Redis, enough of its replicas, or the JWT issuer is unavailable."
    return _problem(503, detail, {"Retry-After": str(RETRY_AFTER_S)}, hint=hint)


def _unfit_redis(error: UnfitRedis) -> Response:
    logs.event("redis.unfit", level=logging.ERROR, request_id=g.request_id, reason=str(error))
    detail = "Redis refuses commands of the bridge; the bridge's log says what its operator must change."
    return _problem(503, detail, {"Retry-After": str(FULL_RETRY_AFTER_S)})


def _misconfigured(error: OperatorError) -> Response:
    logs.event("settings.wrong", level=logging.ERROR, request_id=g.request_id, reason=str(error))
    return _problem(500, "The bridge is misconfigured; its log says what to change.")


def _unreadable_body(_: Exception) -> Response:
    """Handles gunicorn's errors while a body is read: it is incomplete, or its chunked encoding is malformed."""
    return _problem(400, INCOMPLETE_BODY)


def _internal_error(error: Exception) -> Response:
    """Logs the error's type and stack only: its text may contain the caller's input."""
    logs.event(
        "api.failed",
        level=logging.ERROR,
        request_id=g.request_id,
        error=type(error).__qualname__,
        traceback="".join(traceback.format_tb(error.__traceback__)),
    )
    return _problem(500, "Internal error; the log has more under this request_id.")


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": g.request_id,
        **more,
    }
    return Response(json.dumps(body), status, headers, mimetype=MEDIA_TYPE)
