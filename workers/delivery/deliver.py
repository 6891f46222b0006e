"""Calls subscribers."""

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from app import logs
from app.config.format_catalog import FormatCatalog
from app.domain.delivery import Death, DeliveryState, NextStep, Schedule, abandon_before_send, next_step
from app.domain.destination import format_of, is_bot, sign, split_lane
from app.domain.errors import OperatorError
from app.domain.event import Event
from app.domain.registration import Registration
from app.domain.times import to_ms
from app.domain.verdict import Verdict
from app.formats import cloudevents
from app.formats.format import Format, Language
from app.observability.metric_definitions import ATTEMPT_DURATION, ATTEMPTS, DEATHS, DELIVERED_AFTER
from app.observability.metric_registry import MetricRegistry
from app.store.agenda import Agenda, Claimed
from app.store.deliveries import Deliveries, StartedAttempt
from app.store.destinations import Destinations, SignalReport
from app.store.engine.scripts import ScriptCall
from app.store.gone_urls import GoneUrls
from app.transport.stopwatch import Stopwatch
from app.webhooks import callback
from app.webhooks.handshake import Handshake
from app.webhooks.sender import Attempt, Sender
from app.webhooks.signing_keys import SigningKeys
from workers.telemetry import earliest_delivery_time, format_label

if TYPE_CHECKING:
    from app.observability.tracing import Tracing

# Beyond the deadline of the attempt: for signing, and for waiting for a thread.
PERMIT_MARGIN = timedelta(seconds=1)
UNOPENED = "not sent: the bridge cannot open what it keeps of this registration; its operator must act"
NO_FORMAT = "not sent: the bridge has no such format any more; its operator must act"


@dataclass(frozen=True, slots=True)
class MessagePart:
    """What one delivery has to say in a message, and to whom."""

    begun: StartedAttempt
    registration: Registration
    event: Event
    format: Format


class DeliveryWorker:
    """The work of a deliver worker."""

    def __init__(
        self,
        *,
        agenda: Agenda,
        deliveries: Deliveries,
        gone_urls: GoneUrls,
        destinations: Destinations,
        catalogue: FormatCatalog,
        sender: Sender,
        signing_keys: SigningKeys,
        schedule: Schedule,
        chat_schedule: Schedule,
        link: str | None,
        handshake: Handshake | None,
        deadline: timedelta,
        counts: MetricRegistry,
        tracing: "Tracing | None",
        clock: Callable[[], datetime],
        crash_point: Callable[[str], None],
    ) -> None:
        self.agenda = agenda
        self._deliveries = deliveries
        self._gone_urls = gone_urls
        self._destinations = destinations
        self._catalogue = catalogue
        self._sender = sender
        self._own_signers = signing_keys.signers
        self._schedules = {False: schedule, True: chat_schedule}
        self._link = link
        self._handshake = handshake
        self._deadline = deadline
        self._counts = counts
        self._tracing = tracing
        self._clock = clock
        self._crash_point = crash_point

    def prepare(self, claimed: Sequence[Claimed]) -> list[StartedAttempt]:
        self._crash_point("deliver.claimed")
        lease_ends = min(item.lease_ends for item in claimed)
        begun = self._deliveries.begin(claimed, min(self._clock() + self._deadline + PERMIT_MARGIN, lease_ends))
        gathered = self._deliveries.gather(begun, self._most_in_one, self._clock())
        self._crash_point("deliver.gathered")
        return gathered

    def do(self, task: StartedAttempt) -> Sequence[ScriptCall]:
        # The deadline counts from before the look at the permit: whoever stands still after it sends nothing any more.
        watch = Stopwatch()
        started = self._clock()
        calls: list[ScriptCall] = []
        parts: list[MessagePart] = []
        for begun in (task, *task.along):
            part = self._part(begun, started)
            if isinstance(part, ScriptCall):
                calls.append(part)
            elif parts and part.registration.look != parts[0].registration.look:
                calls.append(self._put_back(begun, started))
            else:
                parts.append(part)
        # We may have been stopped for too long: whoever has the lease now goes on.
        if parts and started < task.permit_until:
            calls += self._tell(parts, started, watch)
        return calls

    def _most_in_one(self, begun: StartedAttempt) -> int:
        """How many deliveries one message may tell of."""
        name = format_of(split_lane(begun.claimed.lane)[1])
        known = name and self._catalogue.find(name)
        return known.digest if known else 1

    def _part(self, begun: StartedAttempt, started: datetime) -> MessagePart | ScriptCall:
        """Or what is to be recorded instead of an attempt."""
        if death := abandon_before_send(begun.tried, self._schedule(begun), started):
            return self._over(begun, death)
        try:
            registration, event = self._deliveries.open(begun)
        except OperatorError as error:
            return self._unsent(begun, started, reason=str(error), error=UNOPENED)
        if begun.some_gone and self._gone_urls.cut_off(registration.tenant, [registration]) == [True]:
            return self._cut_off(begun)
        found = self._catalogue.find(registration.format)
        if found is None:
            reason = f"there is no format {registration.format!r} any more: put it back into BRIDGE_TEMPLATES_DIR"
            return self._unsent(begun, started, reason=reason, error=NO_FORMAT)
        return MessagePart(begun, registration, event, found)

    def _tell(self, parts: Sequence[MessagePart], started: datetime, watch: Stopwatch) -> Iterator[ScriptCall]:
        """One message about all of the parts, whose registrations look alike."""
        self._crash_point("deliver.before_post")
        attempt = self._post(parts, started, watch)
        self._crash_point("deliver.after_post")
        self._count_attempt(parts[0], attempt)
        if attempt.url:
            for part in parts:
                self._deliveries.move(part.registration, attempt.url)
        yield from self._about_url(parts, attempt)
        line = callback.line(attempt, parts[0].begun.number, started)
        if len(parts) > 1:
            line["digest"] = [part.event.id for part in parts]
        news = self._news(parts[0].begun, attempt, started)
        for part in parts:
            yield self._record(part, attempt, line, news)
            news = None  # it is told once, as the attempt was made once

    def _post(self, parts: Sequence[MessagePart], now: datetime, watch: Stopwatch) -> Attempt:
        first = parts[0]
        if not self._tracing:
            return self._send(parts, now, watch, first.registration.traceparent)
        with self._tracing.deliver(
            [part.registration.traceparent for part in parts],
            delivery_id=first.begun.claimed.id,
            event_id=first.event.id,
            number=first.begun.number,
            format=first.format.name,
            digest=[part.event.id for part in parts] if len(parts) > 1 else None,
        ) as sending:
            attempt = self._send(parts, now, watch, sending.traceparent)
            verdict = attempt.verdict
            sending.came_of(verdict=verdict, delivered=verdict is Verdict.DELIVERED, status_code=attempt.status_code)
        return attempt

    def _send(self, parts: Sequence[MessagePart], now: datetime, watch: Stopwatch, traceparent: str | None) -> Attempt:
        begun, registration, form = parts[0].begun, parts[0].registration, parts[0].format
        headers = dict(registration.headers)
        if traceparent:
            headers["traceparent"] = traceparent
        subscriber = callback.subscriber(
            registration.tenant,
            form,
            url=registration.callback_url,
            secrets=registration.secrets_at(now),
            own_signers=self._own_signers,
            headers=headers,
            hidden=registration.credentials,
            language=Language(registration.language),
            link=registration.link or self._link,
        )
        deadline = min(self._deadline, begun.permit_until - now)
        events = [part.event for part in parts]
        if self._handshake and form is cloudevents.FORMAT:
            refused = self._handshake.refusal(subscriber, begun.claimed.lane, deadline, watch)
            if refused:
                return refused
        return callback.send(
            self._sender, subscriber, events, number=begun.number, now=now, deadline=deadline, watch=watch
        )

    def _about_url(self, parts: Sequence[MessagePart], attempt: Attempt) -> list[ScriptCall]:
        """What its answer means to others with the same URL."""
        registration = parts[0].registration
        if attempt.verdict is Verdict.GONE:
            return [self._gone_urls.add(registration.tenant, registration.callback_url, self._clock())]
        if attempt.verdict is Verdict.DELIVERED and any(part.begun.some_gone for part in parts):
            return [self._gone_urls.remove(registration.tenant, registration.callback_url)]
        return []

    def _count_attempt(self, part: MessagePart, attempt: Attempt) -> None:
        tenant = part.registration.tenant
        self._counts.count(ATTEMPTS, format_label(part.format.name), attempt.verdict, tenant=tenant)
        self._counts.observe(ATTEMPT_DURATION, attempt.timings.total.total_seconds())

    def _count_outcome(self, begun: StartedAttempt, follows: NextStep) -> NextStep:
        if follows.death:
            self._counts.count(DEATHS, follows.death, tenant=split_lane(begun.claimed.lane)[0])
        return follows

    def _record(
        self, part: MessagePart, attempt: Attempt, line: dict[str, Any], news: SignalReport | None
    ) -> ScriptCall:
        begun = part.begun
        follows = self._follows(begun, attempt.verdict, attempt.retry_after)
        since = earliest_delivery_time(part.event, part.registration)
        if self._tracing and since and begun.number == 1 and part.registration.traceparent:
            self._trace_watch(self._tracing, part, part.registration.traceparent)
        if since and attempt.verdict is Verdict.DELIVERED:
            self._counts.observe(DELIVERED_AFTER, max(0.0, (self._clock() - since).total_seconds()))
        logs.event(
            "delivery.attempted",
            delivery_id=begun.claimed.id,
            event_id=part.event.id,
            registration_id=part.event.registration_id,
            trace_id=part.registration.trace_id,
            attempt_id=line["id"],
            number=begun.number,
            verdict=attempt.verdict,
            status_code=attempt.status_code,
            error=attempt.error,
            said=attempt.said,
            state=follows.state,
            **({"digest": line["digest"]} if "digest" in line else {}),
            **line["timings"],
        )
        own = line | {"number": begun.number, "next_at": to_ms(follows.due) if follows.due else None}
        return self._deliveries.record(begun.claimed, attempt.verdict, follows, own, news, in_doubt=attempt.in_doubt)

    @staticmethod
    def _trace_watch(tracing: "Tracing", part: MessagePart, traceparent: str) -> None:
        """Told here, where both ends of it are known without a look into Redis."""
        tracing.watched(
            traceparent,
            part.registration.created_at,
            part.event.observed_at,
            registration_id=part.registration.id,
            event_id=part.event.id,
            project=part.registration.project,
        )

    def _news(self, begun: StartedAttempt, attempt: Attempt, started: datetime) -> SignalReport | None:
        """What it tells of its destination."""
        to_bot = is_bot(begun.claimed.lane)
        seen = sign(
            attempt.verdict,
            status_code=attempt.status_code,
            took=attempt.timings.total,
            deadline=self._deadline,
            retry_after=attempt.retry_after,
            crowded=attempt.crowded,
            is_bot=to_bot,
        )
        if seen is None:
            return None
        why = attempt.error or attempt.said or f"HTTP {attempt.status_code}"
        told = self._destinations.told(seen, why, started, is_bot=to_bot)
        return SignalReport(told, self._clock(), partial(_say, begun.claimed.lane))

    def _put_back(self, begun: StartedAttempt, now: datetime) -> ScriptCall:
        """It does not fit into this message: nothing was sent of it."""
        return self._deliveries.record(begun.claimed, None, NextStep(DeliveryState.PENDING, due=now), None)

    def _cut_off(self, begun: StartedAttempt) -> ScriptCall:
        logs.event("delivery.cut_off", delivery_id=begun.claimed.id, registration_id=begun.facts[0])
        follows = self._count_outcome(begun, NextStep(DeliveryState.DEAD, death=Death.GONE_BEFORE))
        return self._deliveries.record(begun.claimed, Verdict.GONE, follows, None)

    def _schedule(self, begun: StartedAttempt) -> Schedule:
        return self._schedules[is_bot(begun.claimed.lane)]

    def _follows(self, begun: StartedAttempt, verdict: Verdict, retry_after: timedelta | None = None) -> NextStep:
        follows = next_step(
            begun.tried,
            verdict,
            schedule=self._schedule(begun),
            now=self._clock(),
            spread=random.random(),
            retry_after=retry_after,
        )
        return self._count_outcome(begun, follows)

    def _unsent(self, begun: StartedAttempt, started: datetime, *, reason: str, error: str) -> ScriptCall:
        """An operator must act. Until then it is as if the subscriber were away: leases alone wear it out soon."""
        logs.event("delivery.unopened", level=logging.ERROR, delivery_id=begun.claimed.id, reason=reason)
        follows = self._follows(begun, Verdict.RETRY)
        next_at = to_ms(follows.due) if follows.due else None
        line = callback.head(begun.number, started) | {"took_ms": 0, "verdict": Verdict.RETRY, "error": error}
        return self._deliveries.record(begun.claimed, Verdict.RETRY, follows, line | {"next_at": next_at})

    def _over(self, begun: StartedAttempt, death: Death) -> ScriptCall:
        """It is not sent any more."""
        follows = self._count_outcome(begun, NextStep(DeliveryState.DEAD, death=death))
        if death is not Death.GIVEN_UP:
            logs.event("delivery.over", delivery_id=begun.claimed.id, reason=death)
            return self._deliveries.record(begun.claimed, None, follows, None)
        # Every try was begun and none came to an end: whatever it is, it must not end another worker.
        error = "given up: the worker ended in the middle of earlier attempts"
        logs.event("delivery.given_up", level=logging.ERROR, delivery_id=begun.claimed.id, number=begun.number)
        line = callback.head(begun.number, self._clock()) | {"took_ms": 0, "verdict": Verdict.REFUSED, "error": error}
        return self._deliveries.record(begun.claimed, Verdict.REFUSED, follows, line)


def _say(lane: str, change: str) -> None:
    """change: of the destination; '' for none."""
    if change:
        tenant, destination = split_lane(lane)
        level = logging.INFO if change == "answers_again" else logging.WARNING
        logs.event(f"destination.{change}", level=level, tenant=tenant, destination=destination)
