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
from app.formats.format import Format, MessageOptions, Outgoing
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
    may_fall_back: bool = True,
) -> Attempt:
    """Sends one message about all of the events.

    number: attempt number, from 1. deadline: counts from the start of `stopwatch`.
    may_fall_back: whether a message that is refused for its content or size is sent again at once in the format's
    simplest form.
    If the service names a new URL, the message is sent there at once, and the attempt's `url` is the new URL.
    """
    arguments: dict[str, Any] = {"number": number, "now": now, "deadline": deadline, "stopwatch": stopwatch}
    moved_to = None
    attempt = _send(sender, subscriber, events, **arguments)
    if attempt.url:
        moved_to = attempt.url
        subscriber = replace(subscriber, options=replace(subscriber.options, url=moved_to))
        attempt = _send(sender, subscriber, events, **arguments)
    if attempt.malformed and may_fall_back:
        simplest = subscriber.format.fallback(events, subscriber.options, now)
        if simplest:
            attempt = _joined(attempt, _post(sender, subscriber, events, simplest, **arguments))
    return replace(attempt, url=moved_to)


def _joined(refused: Attempt, second: Attempt) -> Attempt:
    """Returns the result of the second message, with the reason for it."""
    reason = refused.service_message or f"answered {refused.status_code}"
    delivered = "sent again in its simplest form, which was accepted"
    failure = f"sent again in its simplest form: {second.service_message or second.error or second.status_code}"
    text = f"{reason}; {delivered if second.verdict is Verdict.DELIVERED else failure}"
    return replace(second, fallback=True, service_message=text)


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
    return _post(sender, subscriber, events, outgoing, number=number, now=now, deadline=deadline, stopwatch=stopwatch)


def _post(
    sender: Sender,
    subscriber: Subscriber,
    events: Sequence[Event],
    outgoing: Outgoing,
    *,
    number: int,
    now: datetime,
    deadline: timedelta,
    stopwatch: Stopwatch,
) -> Attempt:
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
        **({"fallback": True} if attempt.fallback else {}),
        "took_ms": attempt.timings.total // timedelta(milliseconds=1),
        "timings": attempt.timings.in_ms(),
        "verdict": attempt.verdict,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "service_message": attempt.service_message,
        "response_excerpt": attempt.response_excerpt,
    }
