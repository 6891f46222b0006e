"""Calls subscribers."""

import logging
import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from app import logs
from app.domain import signature
from app.domain.delivery import Death, DeliveryState, Next, Schedule, after
from app.domain.destination import sign, split_lane
from app.domain.errors import OperatorError
from app.domain.event import Event
from app.domain.registration import Registration
from app.domain.times import to_ms
from app.domain.verdict import Verdict
from app.store.agenda import Agenda, Claimed
from app.store.deliveries import Begun, Deliveries
from app.store.destinations import Destinations, News
from app.store.gone import GoneUrls
from app.store.scripts import Call
from app.webhooks import callback
from app.webhooks.callback import Subscriber
from app.webhooks.sender import Attempt, Sender
from app.webhooks.signing_keys import SigningKeys

# Beyond the deadline of the attempt: for signing, and for waiting for a thread.
PERMIT_MARGIN = timedelta(seconds=1)


class Delivering:
    """The work of a deliver worker."""

    def __init__(
        self,
        *,
        agenda: Agenda,
        deliveries: Deliveries,
        gone_urls: GoneUrls,
        destinations: Destinations,
        sender: Sender,
        signing_keys: SigningKeys,
        schedule: Schedule,
        deadline: timedelta,
        clock: Callable[[], datetime],
        crash_point: Callable[[str], None],
    ) -> None:
        self.agenda = agenda
        self._deliveries = deliveries
        self._gone_urls = gone_urls
        self._destinations = destinations
        self._sender = sender
        self._own_signers = signing_keys.signers
        self._schedule = schedule
        self._deadline = deadline
        self._clock = clock
        self._crash_point = crash_point

    def prepare(self, claimed: Sequence[Claimed]) -> list[Begun]:
        self._crash_point("deliver.claimed")
        lease_ends = min(item.lease_ends for item in claimed)
        return self._deliveries.begin(claimed, min(self._clock() + self._deadline + PERMIT_MARGIN, lease_ends))

    def do(self, task: Begun) -> Sequence[Call]:
        if task.tried.number > self._schedule.attempts:
            return [self._given_up(task)]
        started = self._clock()
        try:
            registration, event = self._deliveries.open(task)
        except OperatorError as error:
            return [self._unopened(task, started, reason=str(error))]
        if task.some_gone and self._gone_urls.cut_off(registration.tenant, [registration]) == [True]:
            return [self._cut_off(task)]
        time_left = task.permit_until - started
        if time_left <= timedelta():
            return ()  # we were stopped for too long: whoever has the lease now goes on
        self._crash_point("deliver.before_post")
        attempt = self._post(task, registration, event, started, min(self._deadline, time_left))
        self._crash_point("deliver.after_post")
        return [
            *self._about_url(task, registration, attempt),
            self._record(task, event, attempt, started, registration.trace_id),
        ]

    def _post(
        self, task: Begun, registration: Registration, event: Event, now: datetime, deadline: timedelta
    ) -> Attempt:
        signers = (*map(signature.by_secret, registration.secrets_at(now)), *self._own_signers)
        headers = dict(registration.headers)
        if registration.traceparent:
            headers["traceparent"] = registration.traceparent
        subscriber = Subscriber(
            tenant=registration.tenant,
            url=registration.callback_url,
            signers=signers,
            headers=headers,
            hidden=registration.credentials,
        )
        return callback.send(self._sender, subscriber, event, number=task.number, now=now, deadline=deadline)

    def _about_url(self, task: Begun, registration: Registration, attempt: Attempt) -> list[Call]:
        """What its answer means to others with the same URL."""
        if attempt.verdict is Verdict.GONE:
            return [self._gone_urls.add(registration.tenant, registration.callback_url, self._clock())]
        if attempt.verdict is Verdict.DELIVERED and task.some_gone:
            return [self._gone_urls.remove(registration.tenant, registration.callback_url)]
        return []

    def _record(self, task: Begun, event: Event, attempt: Attempt, started: datetime, trace_id: str | None) -> Call:
        follows = self._follows(task, attempt.verdict, attempt.retry_after)
        logs.event(
            "delivery.attempted",
            delivery_id=task.claimed.id,
            event_id=event.id,
            registration_id=event.registration_id,
            trace_id=trace_id,
            number=task.number,
            verdict=attempt.verdict,
            status_code=attempt.status_code,
            error=attempt.error,
            state=follows.state,
            **attempt.timings.in_ms(),
        )
        next_at = to_ms(follows.due) if follows.due else None
        line = callback.line(attempt, task.number, started) | {"next_at": next_at}
        return self._deliveries.record(task.claimed, attempt.verdict, follows, line, self._news(task, attempt, started))

    def _news(self, task: Begun, attempt: Attempt, started: datetime) -> News | None:
        """What it tells of its destination."""
        seen = sign(
            attempt.verdict,
            status_code=attempt.status_code,
            took=attempt.timings.total,
            deadline=self._deadline,
            retry_after=attempt.retry_after,
        )
        if seen is None:
            return None
        told = self._destinations.told(seen, attempt.error or f"HTTP {attempt.status_code}", started)
        return News(told, self._clock(), partial(_say, task.claimed.lane))

    def _cut_off(self, task: Begun) -> Call:
        logs.event("delivery.cut_off", delivery_id=task.claimed.id, registration_id=task.facts[0])
        follows = Next(DeliveryState.DEAD, death=Death.GONE_BEFORE)
        return self._deliveries.record(task.claimed, Verdict.GONE, follows, None)

    def _follows(self, task: Begun, verdict: Verdict, retry_after: timedelta | None = None) -> Next:
        return after(
            task.tried,
            verdict,
            schedule=self._schedule,
            now=self._clock(),
            spread=random.random(),
            retry_after=retry_after,
        )

    def _unopened(self, task: Begun, started: datetime, reason: str) -> Call:
        """An operator must act. Until then it is as if the subscriber were away: leases alone wear it out soon."""
        logs.event("delivery.unopened", level=logging.ERROR, delivery_id=task.claimed.id, reason=reason)
        follows = self._follows(task, Verdict.RETRY)
        error = "not sent: the bridge cannot open what it keeps of this registration; its operator must act"
        next_at = to_ms(follows.due) if follows.due else None
        line = callback.head(task.number, started) | {"took_ms": 0, "verdict": Verdict.RETRY, "error": error}
        return self._deliveries.record(task.claimed, Verdict.RETRY, follows, line | {"next_at": next_at})

    def _given_up(self, task: Begun) -> Call:
        """Every try was begun and none came to an end: whatever it is, it must not end another worker."""
        error = "given up: the worker ended in the middle of earlier attempts"
        logs.event("delivery.given_up", level=logging.ERROR, delivery_id=task.claimed.id, number=task.number)
        line = callback.head(task.number, self._clock()) | {"took_ms": 0, "verdict": Verdict.REFUSED, "error": error}
        follows = Next(DeliveryState.DEAD, death=Death.GIVEN_UP)
        return self._deliveries.record(task.claimed, Verdict.REFUSED, follows, line)


def _say(lane: str, change: str) -> None:
    """change: of the destination; '' for none."""
    if change:
        tenant, destination = split_lane(lane)
        level = logging.INFO if change == "answers_again" else logging.WARNING
        logs.event(f"destination.{change}", level=level, tenant=tenant, destination=destination)
