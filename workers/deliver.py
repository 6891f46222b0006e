"""Calls subscribers."""

import logging
import random
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from app import logs
from app.domain import signature
from app.domain.delivery import DeliveryState, Next, Schedule, after
from app.domain.event import Event
from app.domain.ids import RANDOM_BITS, new_id
from app.domain.registration import Registration
from app.domain.times import to_ms
from app.domain.verdict import Verdict
from app.formats import standard
from app.store.agenda import Agenda, Claimed
from app.store.deliveries import Begun, Deliveries
from app.store.scripts import Call
from app.webhooks.sender import Attempt, Sender

# Beyond the deadline of the attempt: for signing, and for waiting for a thread.
PERMIT_MARGIN = timedelta(seconds=1)


class Delivering:
    """The work of a deliver worker."""

    def __init__(
        self,
        *,
        agenda: Agenda,
        deliveries: Deliveries,
        sender: Sender,
        schedule: Schedule,
        deadline: timedelta,
        clock: Callable[[], datetime],
        crash_point: Callable[[str], None],
    ) -> None:
        self.agenda = agenda
        self._deliveries = deliveries
        self._sender = sender
        self._schedule = schedule
        self._deadline = deadline
        self._clock = clock
        self._crash_point = crash_point

    def prepare(self, claimed: Sequence[Claimed]) -> list[Begun]:
        lease_ends = min(item.lease_ends for item in claimed)
        return self._deliveries.begin(claimed, min(self._clock() + self._deadline + PERMIT_MARGIN, lease_ends))

    def do(self, task: Begun) -> Sequence[Call]:
        if task.number > self._schedule.attempts:
            return [self._given_up(task)]
        registration, event = self._deliveries.open(task)
        started = self._clock()
        time_left = task.permit_until - started
        if time_left <= timedelta():
            return ()  # we were stopped for too long: whoever has the lease now goes on
        self._crash_point("deliver.before_post")
        attempt = self._post(task, registration, event, started, min(self._deadline, time_left))
        self._crash_point("deliver.after_post")
        return [self._record(task, event, attempt, started)]

    def _post(
        self, task: Begun, registration: Registration, event: Event, now: datetime, deadline: timedelta
    ) -> Attempt:
        body = standard.render(event)
        headers = {
            "Content-Type": standard.CONTENT_TYPE,
            "Bridge-Attempt": str(task.number),
            **signature.headers(registration.secret, event.id, now, body),
        }
        if registration.traceparent:
            headers["traceparent"] = registration.traceparent
        return self._sender.post(registration.callback_url, headers=headers, body=body, deadline=deadline)

    def _record(self, task: Begun, event: Event, attempt: Attempt, started: datetime) -> Call:
        now = self._clock()
        follows = after(
            task.number,
            attempt.verdict,
            schedule=self._schedule,
            created=task.created_at,
            now=now,
            spread=random.random(),
            retry_after=attempt.retry_after,
        )
        logs.event(
            "delivery.attempted",
            delivery_id=task.claimed.id,
            event_id=event.id,
            registration_id=event.registration_id,
            number=task.number,
            verdict=attempt.verdict,
            status_code=attempt.status_code,
            error=attempt.error,
            state=follows.state,
        )
        line = {
            **_head(task, started),
            "took_ms": attempt.took // timedelta(milliseconds=1),
            "verdict": attempt.verdict,
            "status_code": attempt.status_code,
            "error": attempt.error,
            "response_excerpt": attempt.response_excerpt,
            "next_at": to_ms(follows.due) if follows.due else None,
        }
        return self._deliveries.record(task.claimed, follows, line)

    def _given_up(self, task: Begun) -> Call:
        """Every try was begun and none came to an end: whatever it is, it must not end another worker."""
        error = "given up: the worker ended in the middle of earlier attempts"
        logs.event("delivery.given_up", level=logging.ERROR, delivery_id=task.claimed.id, number=task.number)
        line = {**_head(task, self._clock()), "took_ms": 0, "verdict": Verdict.REFUSED, "error": error}
        return self._deliveries.record(task.claimed, Next(DeliveryState.DEAD), line)


def _head(task: Begun, started: datetime) -> dict[str, Any]:
    started_ms = to_ms(started)
    return {
        "id": new_id("att", started_ms, secrets.randbits(RANDOM_BITS)),
        "number": task.number,
        "started_at": started_ms,
    }
