"""A callback: the request that tells a subscriber of an event, and the line about it in the log of attempts."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app.domain import signature
from app.domain.event import Event
from app.domain.ids import RANDOM_BITS, new_id
from app.domain.signature import Signer
from app.domain.times import to_ms
from app.formats import standard
from app.transport.stopwatch import Stopwatch
from app.webhooks.sender import Attempt, Sender


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Whom to call. headers: more of them, which the caller of the API wants.

    hidden: what the excerpt of an answer must not show, beside what was sent.
    """

    tenant: str
    url: str = field(repr=False)
    signers: tuple[Signer, ...] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    hidden: tuple[str, ...] = field(repr=False)


def send(
    sender: Sender,
    subscriber: Subscriber,
    event: Event,
    *,
    number: int,
    now: datetime,
    deadline: timedelta,
    watch: Stopwatch | None = None,
) -> Attempt:
    """number: of the attempt, from 1. watch: if the deadline counts from an earlier moment."""
    body = standard.render(event)
    headers = {
        **subscriber.headers,
        "Content-Type": standard.CONTENT_TYPE,
        "Bridge-Attempt": str(number),
        **signature.headers(subscriber.signers, event.id, now, body),
    }
    return sender.post(
        subscriber.url,
        tenant=subscriber.tenant,
        headers=headers,
        body=body,
        deadline=deadline,
        secrets=subscriber.hidden,
        watch=watch,
    )


def head(number: int, started: datetime) -> dict[str, Any]:
    """How the line about an attempt begins."""
    started_ms = to_ms(started)
    return {"id": new_id("att", started_ms, secrets.randbits(RANDOM_BITS)), "number": number, "started_at": started_ms}


def line(attempt: Attempt, number: int, started: datetime) -> dict[str, Any]:
    """Moments in milliseconds."""
    return {
        **head(number, started),
        "took_ms": attempt.timings.total // timedelta(milliseconds=1),
        "timings": attempt.timings.in_ms(),
        "verdict": attempt.verdict,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "response_excerpt": attempt.response_excerpt,
    }
