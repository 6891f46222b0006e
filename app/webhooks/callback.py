"""A callback: the request that tells a subscriber of events, and the line about it in the log of attempts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from secrets import randbits
from typing import Any

from app.domain import signature
from app.domain.errors import Unrenderable
from app.domain.event import Event
from app.domain.ids import RANDOM_BITS, new_id
from app.domain.signature import Signer
from app.domain.times import to_ms
from app.domain.verdict import Verdict
from app.formats.format import Format, MessageOptions
from app.transport.stopwatch import Stopwatch
from app.webhooks.sender import Attempt, Sender, failed


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Whom to call, and how. headers: more of them, which the caller of the API wants.

    hidden: what the excerpt of an answer must not show, beside what was sent.
    """

    tenant: str
    format: Format
    wishes: MessageOptions
    signers: tuple[Signer, ...] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    hidden: tuple[str, ...] = field(repr=False)


def send(
    sender: Sender,
    subscriber: Subscriber,
    events: Sequence[Event],
    *,
    number: int,
    now: datetime,
    deadline: timedelta,
    watch: Stopwatch,
) -> Attempt:
    """One message about all of the events. number: of the attempt, from 1. watch: the deadline counts from it.

    Where the service names another URL, it is sent there at once: the attempt's `url` says where from now on.
    """
    how: dict[str, Any] = {"number": number, "now": now, "deadline": deadline, "watch": watch}
    attempt = _send(sender, subscriber, events, **how)
    if attempt.url is None:
        return attempt
    moved = replace(subscriber, wishes=replace(subscriber.wishes, url=attempt.url))
    return replace(_send(sender, moved, events, **how), url=attempt.url)


def _send(
    sender: Sender,
    subscriber: Subscriber,
    events: Sequence[Event],
    *,
    number: int,
    now: datetime,
    deadline: timedelta,
    watch: Stopwatch,
) -> Attempt:
    try:
        outgoing = subscriber.format.render(events, subscriber.wishes, now)
    except Unrenderable as error:
        return failed(Verdict.REFUSED, str(error), watch)
    own = {name.lower() for name in outgoing.headers}
    headers = {name: value for name, value in subscriber.headers.items() if name.lower() not in own}
    headers |= outgoing.headers
    if subscriber.format.machine:
        headers["Bridge-Attempt"] = str(number)
        headers |= signature.headers(subscriber.signers, events[0].id, now, outgoing.body)
    return sender.post(
        outgoing.url,
        tenant=subscriber.tenant,
        headers=headers,
        body=outgoing.body,
        judge=subscriber.format.judge,
        deadline=deadline,
        secrets=subscriber.hidden,
        watch=watch,
    )


def head(number: int, started: datetime) -> dict[str, Any]:
    """How the line about an attempt begins."""
    started_ms = to_ms(started)
    return {"id": new_id("att", started_ms, randbits(RANDOM_BITS)), "number": number, "started_at": started_ms}


def line(attempt: Attempt, number: int, started: datetime) -> dict[str, Any]:
    """Moments in milliseconds."""
    return {
        **head(number, started),
        "took_ms": attempt.timings.total // timedelta(milliseconds=1),
        "timings": attempt.timings.in_ms(),
        "verdict": attempt.verdict,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "service_message": attempt.service_message,
        "response_excerpt": attempt.response_excerpt,
    }
