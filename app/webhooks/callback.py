"""A callback: the request that sends events to a subscriber, and its entry in the attempt log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from secrets import randbits
from typing import Any

from app.domain import signature
from app.domain.errors import Unavailable, Unrenderable
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
    """The receiver of callbacks. headers: extra request headers, set by the registration.

    hidden: values to mask in the response excerpt, in addition to what was sent.
    """

    tenant: str
    format: Format
    options: MessageOptions
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
    stopwatch: Stopwatch,
) -> Attempt:
    """Sends one message about all of the events.

    number: attempt number, from 1. deadline: counts from the start of `stopwatch`.
    If the service names a new URL, the message is sent there at once, and the attempt's `url` is the new URL.
    """
    arguments: dict[str, Any] = {"number": number, "now": now, "deadline": deadline, "stopwatch": stopwatch}
    attempt = _send(sender, subscriber, events, **arguments)
    if attempt.url is None:
        return attempt
    moved = replace(subscriber, options=replace(subscriber.options, url=attempt.url))
    return replace(_send(sender, moved, events, **arguments), url=attempt.url)


def _send(
    sender: Sender,
    subscriber: Subscriber,
    events: Sequence[Event],
    *,
    number: int,
    now: datetime,
    deadline: timedelta,
    stopwatch: Stopwatch,
) -> Attempt:
    try:
        outgoing = subscriber.format.render(events, subscriber.options, now)
    except Unrenderable as error:
        return failed(Verdict.REFUSED, str(error), stopwatch)
    except Unavailable as error:
        return failed(Verdict.RETRY, str(error), stopwatch)
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
        stopwatch=stopwatch,
    )


def log_line_head(number: int, started: datetime) -> dict[str, Any]:
    """Returns the fields that every entry of the attempt log starts with. started_at: in milliseconds."""
    started_ms = to_ms(started)
    return {"id": new_id("att", started_ms, randbits(RANDOM_BITS)), "number": number, "started_at": started_ms}


def log_line(attempt: Attempt, number: int, started: datetime) -> dict[str, Any]:
    """Returns the entry of the attempt log. Times and durations are in milliseconds."""
    return {
        **log_line_head(number, started),
        "took_ms": attempt.timings.total // timedelta(milliseconds=1),
        "timings": attempt.timings.in_ms(),
        "verdict": attempt.verdict,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "service_message": attempt.service_message,
        "response_excerpt": attempt.response_excerpt,
    }
