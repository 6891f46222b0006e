"""Delivers callbacks: claims deliveries, sends messages, records the attempts."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from app.config.format_catalog import FormatCatalog
from app.domain.delivery import Death, DeliveryState, NextStep, RetrySchedules, abandon_before_send, next_step
from app.domain.destination import attempt_signal, format_of, is_bot, split_lane
from app.domain.errors import OperatorError
from app.domain.event import Event
from app.domain.registration import Registration
from app.domain.times import to_ms
from app.domain.verdict import Verdict
from app.formats.format import Format, Language
from app.store.agenda import Agenda, Claimed
from app.store.deliveries import Deliveries, StartedAttempt
from app.store.destinations import Destinations, SignalReport
from app.store.engine.scripts import ScriptCall
from app.store.gone_urls import GoneUrls
from app.transport.stopwatch import Stopwatch
from app.webhooks import callback
from app.webhooks.callback_client import CallbackClient
from app.webhooks.sender import Attempt
from workers.telemetry import Telemetry

# Beyond the attempt's deadline: time for signing, and for waiting for a thread.
PERMIT_MARGIN = timedelta(seconds=1)
UNOPENED = "not sent: the bridge cannot decrypt this registration; its operator must act"
NO_FORMAT = "not sent: the bridge has no such format any more; its operator must act"


@dataclass(frozen=True, slots=True)
class MessagePart:
    """One delivery of a message, with its event and its registration."""

    begun: StartedAttempt
    registration: Registration
    event: Event
    format: Format


class DeliveryWorker:
    """Sends callbacks. Deliveries to one bot may share a message."""

    def __init__(
        self,
        *,
        agenda: Agenda,
        deliveries: Deliveries,
        gone_urls: GoneUrls,
        destinations: Destinations,
        format_catalog: FormatCatalog,
        client: CallbackClient,
        schedules: RetrySchedules,
        deadline: timedelta,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        crash_point: Callable[[str], None],
    ) -> None:
        self.agenda = agenda
        self._deliveries = deliveries
        self._gone_urls = gone_urls
        self._destinations = destinations
        self._format_catalog = format_catalog
        self._client = client
        self._schedules = schedules
        self._deadline = deadline
        self._telemetry = telemetry
        self._clock = clock
        self._crash_point = crash_point

    def prepare(self, claimed: Sequence[Claimed]) -> list[StartedAttempt]:
        self._crash_point("deliver.claimed")
        lease_ends = min(item.lease_ends for item in claimed)
        begun = self._deliveries.begin(claimed, min(self._clock() + self._deadline + PERMIT_MARGIN, lease_ends))
        batches = self._deliveries.claim_more(begun, self._most_in_one, self._clock())
        self._crash_point("deliver.claimed_more")
        return batches

    def do(self, task: StartedAttempt) -> Sequence[ScriptCall]:
        # The deadline starts before the permit is checked: a process that is suspended in between sends nothing later.
        stopwatch = Stopwatch()
        started = self._clock()
        calls: list[ScriptCall] = []
        parts: list[MessagePart] = []
        for begun in (task, *task.digested):
            part = self._part(begun, started)
            if isinstance(part, ScriptCall):
                calls.append(part)
            elif parts and part.registration.digest_key != parts[0].registration.digest_key:
                calls.append(self._put_back(begun, started))
            else:
                parts.append(part)
        # After the permit has expired, only a worker with a new lease may send.
        if parts and started < task.permit_until:
            calls += self._attempt(parts, started, stopwatch)
        return calls

    def _most_in_one(self, begun: StartedAttempt) -> int:
        """Returns how many deliveries one message to this destination may have."""
        name = format_of(split_lane(begun.claimed.lane)[1])
        known = name and self._format_catalog.find(name)
        return known.digest if known else 1

    def _part(self, begun: StartedAttempt, started: datetime) -> MessagePart | ScriptCall:
        """Returns the part, or the script to run instead of an attempt."""
        if death := abandon_before_send(begun.try_count, self._schedules.of(begun.claimed.lane), started):
            return self._abandon(begun, death)
        try:
            registration, event = self._deliveries.decrypt(begun)
        except OperatorError as error:
            return self._unsent(begun, started, reason=str(error), error=UNOPENED)
        if begun.some_gone and self._gone_urls.are_gone(registration.tenant, [registration]) == [True]:
            return self._drop_gone(begun)
        found = self._format_catalog.find(registration.format)
        if found is None:
            reason = f"there is no format {registration.format!r} any more: put it back into BRIDGE_TEMPLATES_DIR"
            return self._unsent(begun, started, reason=reason, error=NO_FORMAT)
        return MessagePart(begun, registration, event, found)

    def _attempt(self, parts: Sequence[MessagePart], started: datetime, stopwatch: Stopwatch) -> Iterator[ScriptCall]:
        """Sends one message about all parts, whose registrations have one digest key."""
        self._crash_point("deliver.before_post")
        attempt = self._post(parts, started, stopwatch)
        self._crash_point("deliver.after_post")
        if attempt.url:
            for part in parts:
                self._deliveries.move(part.registration, attempt.url)
        yield from self._record_url(parts, attempt)
        line = callback.log_line(attempt, parts[0].begun.number, started)
        if len(parts) > 1:
            line["digest"] = [part.event.id for part in parts]
        signal = self._signal(parts[0].begun, attempt, started)
        for part in parts:
            yield self._record(part, attempt, line, signal)
            signal = None  # reported once, as the attempt was made once

    def _post(self, parts: Sequence[MessagePart], now: datetime, stopwatch: Stopwatch) -> Attempt:
        first = parts[0]
        contents = [(part.registration, part.event) for part in parts]
        send = partial(self._send, parts, now, stopwatch)
        return self._telemetry.attempt(send, first.begun, contents, first.format.name)

    def _send(
        self, parts: Sequence[MessagePart], now: datetime, stopwatch: Stopwatch, traceparent: str | None
    ) -> Attempt:
        begun, registration = parts[0].begun, parts[0].registration
        headers = dict(registration.headers)
        if traceparent:
            headers["traceparent"] = traceparent
        subscriber = self._client.subscriber(
            registration.tenant,
            parts[0].format,
            url=registration.callback_url,
            secrets=registration.secrets_at(now),
            headers=headers,
            hidden=registration.credentials,
            language=Language(registration.language),
            link=registration.link,
        )
        return self._client.send(
            subscriber,
            [part.event for part in parts],
            number=begun.number,
            now=now,
            deadline=min(self._deadline, begun.permit_until - now),
            stopwatch=stopwatch,
            lane=begun.claimed.lane,
            # Once in a delivery: after a refusal of both forms, the same answers are to be expected.
            may_fall_back=not begun.try_count.refused,
        )

    def _record_url(self, parts: Sequence[MessagePart], attempt: Attempt) -> list[ScriptCall]:
        """Returns the scripts that record what the answer means for all registrations with this URL."""
        registration = parts[0].registration
        if attempt.verdict is Verdict.GONE:
            return [self._gone_urls.add(registration.tenant, registration.callback_url, self._clock())]
        if attempt.verdict is Verdict.DELIVERED and any(part.begun.some_gone for part in parts):
            return [self._gone_urls.remove(registration.tenant, registration.callback_url)]
        return []

    def _record(
        self, part: MessagePart, attempt: Attempt, line: dict[str, Any], signal: SignalReport | None
    ) -> ScriptCall:
        begun = part.begun
        step = self._next_step(begun, attempt.verdict, attempt.retry_after)
        self._telemetry.delivery_attempted(
            begun, part.registration, part.event, attempt, line=line, next_step=step, now=self._clock()
        )
        own = line | {"number": begun.number, "next_at": to_ms(step.due) if step.due else None}
        return self._deliveries.record(
            begun.claimed, attempt.verdict, step, own, signal, maybe_delivered=attempt.maybe_delivered
        )

    def _signal(self, begun: StartedAttempt, attempt: Attempt, started: datetime) -> SignalReport | None:
        """Returns the destination's health signal; None if the attempt shows nothing about it."""
        to_bot = is_bot(begun.claimed.lane)
        seen = attempt_signal(
            attempt.verdict,
            status_code=attempt.status_code,
            took=attempt.timings.total,
            deadline=self._deadline,
            retry_after=attempt.retry_after,
            overloaded=attempt.overloaded,
            is_bot=to_bot,
        )
        if seen is None:
            return None
        why = attempt.error or attempt.service_message or f"HTTP {attempt.status_code}"
        report = self._destinations.report(begun.claimed.lane, seen, why, started)
        return SignalReport(report, self._clock(), partial(self._telemetry.destination_changed, begun.claimed.lane))

    def _put_back(self, begun: StartedAttempt, now: datetime) -> ScriptCall:
        """Returns a delivery that does not fit into this message: nothing of it was sent."""
        return self._deliveries.record(begun.claimed, None, NextStep(DeliveryState.PENDING, due=now), None)

    def _drop_gone(self, begun: StartedAttempt) -> ScriptCall:
        self._telemetry.url_gone(begun)
        step = self._counted(begun, NextStep(DeliveryState.DEAD, death=Death.GONE_BEFORE))
        return self._deliveries.record(begun.claimed, Verdict.GONE, step, None)

    def _next_step(self, begun: StartedAttempt, verdict: Verdict, retry_after: timedelta | None = None) -> NextStep:
        step = next_step(
            begun.try_count,
            verdict,
            schedule=self._schedules.of(begun.claimed.lane),
            now=self._clock(),
            jitter=random.random(),
            retry_after=retry_after,
        )
        return self._counted(begun, step)

    def _counted(self, begun: StartedAttempt, step: NextStep) -> NextStep:
        if step.death:
            self._telemetry.delivery_died(begun, step.death)
        return step

    def _unsent(self, begun: StartedAttempt, started: datetime, *, reason: str, error: str) -> ScriptCall:
        """Records an attempt without a request: an operator must act.

        The retry schedule applies, as if the subscriber did not answer: expiring leases would use up the tries soon.
        """
        self._telemetry.delivery_not_sent(begun, reason)
        step = self._next_step(begun, Verdict.RETRY)
        next_at = to_ms(step.due) if step.due else None
        line = callback.log_line_head(begun.number, started) | {"took_ms": 0, "verdict": Verdict.RETRY, "error": error}
        return self._deliveries.record(begun.claimed, Verdict.RETRY, step, line | {"next_at": next_at})

    def _abandon(self, begun: StartedAttempt, death: Death) -> ScriptCall:
        """Ends a delivery without an attempt."""
        step = self._counted(begun, NextStep(DeliveryState.DEAD, death=death))
        if death is not Death.GIVEN_UP:
            self._telemetry.delivery_abandoned(begun, death)
            return self._deliveries.record(begun.claimed, None, step, None)
        # Every attempt began and none ended: whatever the cause, it must not end another worker.
        error = "given up: the worker ended in the middle of earlier attempts"
        self._telemetry.delivery_given_up(begun)
        line = callback.log_line_head(begun.number, self._clock()) | {
            "took_ms": 0,
            "verdict": Verdict.REFUSED,
            "error": error,
        }
        return self._deliveries.record(begun.claimed, Verdict.REFUSED, step, line)
