"""Idempotency-Key on a POST: the first answer again for the same request, 422 for another one."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

from flask import request
from pydantic import BaseModel, Field
from werkzeug.exceptions import Conflict

from app.api.auth.authentication import tenant
from app.domain.errors import InvalidField
from app.store.idempotency import UNDER_WAY, Claims, Idempotency, Repeated


class IdempotencyHeader(BaseModel):
    idempotency_key: str | None = Field(None, alias="Idempotency-Key", pattern=r"^[\x20-\x7e]{1,255}$")

    def of(self, answer: str) -> Idempotency | None:
        """This request with the answer that it would have."""
        if self.idempotency_key is None:
            return None
        asked = sha256(request.path.encode() + b"\n" + request.get_data())
        return Idempotency(sha256(self.idempotency_key.encode()).hexdigest(), asked.hexdigest(), answer)


def replayed_response(repeated: Repeated) -> str:
    if repeated.answer is None:
        raise InvalidField("/headers/Idempotency-Key", "was used with another request within the last 24 hours")
    if repeated.answer == UNDER_WAY:
        raise Conflict("the first request with this Idempotency-Key is still under way: ask again in a moment")
    return repeated.answer


def idempotent(claims: Claims, header: IdempotencyHeader, act: Callable[[], str]) -> str:
    """What `act` answers, or has answered to the same request. If it raises, the key is free again."""
    asked = header.of(UNDER_WAY)
    if asked is None:
        return act()
    earlier = claims.claim(tenant(), asked)
    if earlier is not None:
        return replayed_response(earlier)
    try:
        answer = act()
    except BaseException:  # SystemExit too, by which gunicorn ends a worker: nothing is kept, so the key is free again
        claims.release(tenant(), asked)
        raise
    claims.keep(tenant(), replace(asked, answer=answer))
    return answer
