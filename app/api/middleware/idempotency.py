"""Idempotency-Key on a POST: the same request gets the first answer again, a different request gets 422."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

from flask import request
from pydantic import BaseModel, Field
from werkzeug.exceptions import Conflict

from app.api.auth.authentication import tenant
from app.domain.errors import InvalidField
from app.store.idempotency import UNDER_WAY, Idempotency, IdempotencyClaims, Repeated


class IdempotencyHeader(BaseModel):
    idempotency_key: str | None = Field(None, alias="Idempotency-Key", pattern=r"^[\x20-\x7e]{1,255}$")

    def of(self, answer: str) -> Idempotency | None:
        """Returns the record of this request and its answer; None if it has no Idempotency-Key."""
        if self.idempotency_key is None:
            return None
        digest = sha256(request.path.encode() + b"\n" + request.get_data())
        return Idempotency(sha256(self.idempotency_key.encode()).hexdigest(), digest.hexdigest(), answer)


def replayed_response(repeated: Repeated) -> str:
    if repeated.answer is None:
        raise InvalidField("/headers/Idempotency-Key", "was used for a different request within the last 24 hours")
    if repeated.answer == UNDER_WAY:
        raise Conflict("the first request with this Idempotency-Key is still under way; retry in a moment")
    return repeated.answer


def idempotent(claims: IdempotencyClaims, header: IdempotencyHeader, act: Callable[[], str]) -> str:
    """Returns the answer of `act`, or its earlier answer to the same request. If `act` raises, releases the key."""
    claim = header.of(UNDER_WAY)
    if claim is None:
        return act()
    earlier = claims.claim(tenant(), claim)
    if earlier is not None:
        return replayed_response(earlier)
    try:
        answer = act()
    except BaseException:  # also SystemExit, with which gunicorn ends a worker: without an answer, the key must be free
        claims.release(tenant(), claim)
        raise
    claims.keep(tenant(), replace(claim, answer=answer))
    return answer
