"""What workers tell operators of their work: metrics, traces and log lines."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from app import logs
from app.cph.client import Answered, Listed, Listing, MayNotList, NoSuchRequest, Outcome, Unanswered, Unknown
from app.domain.delivery import NextStep
from app.domain.destination import split_lane
from app.domain.event import DestinationChange, Event
from app.domain.job import Job, JobState
from app.domain.registration import Registration, common_trace_id
from app.domain.times import parse_rfc3339
from app.domain.verdict import Verdict
from app.observability.metric_definitions import (
    ATTEMPT_DURATION,
    ATTEMPTS,
    CALLS_SAVED,
    DEATHS,
    DELIVERED_AFTER,
    POLLS,
    UNKNOWN_STATUSES,
)
from app.observability.metric_registry import MetricRegistry
from app.store.deliveries import StartedAttempt
from app.store.requests import WatchedRequest
from app.store.watches import Watch
from app.webhooks.sender import Attempt

if TYPE_CHECKING:
    from app.observability.tracing import Tracing

TEMPLATE = "template"


class Telemetry:
    """For use by many threads. tracing: None where it is off."""

    def __init__(self, metrics: MetricRegistry, tracing: "Tracing | None") -> None:
        self._metrics = metrics
        self._tracing = tracing

    @property
    def traces(self) -> bool:
        """Whether the traceparents of what is polled are needed."""
        return self._tracing is not None

    def show_job_called(self, watch: Watch, outcome: Outcome, took_s: float) -> None:
        label = outcome_label(outcome)
        self._metrics.count(POLLS, watch.project, "show_job", label)
        if self._tracing:
            self._tracing.polled(
                watch.traceparents, took_s, outcome=label, project=watch.project, call="show_job", job_id=watch.job_id
            )

    def list_jobs_called(
        self, requests: Sequence[WatchedRequest], asked_for: int, answer: Listing, took_s: float
    ) -> None:
        """asked_for: how many of the requests the call named."""
        project, calls = requests[0].project, calls_of(answer)
        for part, times in calls:
            self._metrics.count(POLLS, project, "list_jobs", outcome_label(part), by=times)
        if self._tracing:
            self._tracing.polled(
                [traceparent for request in requests for traceparent in request.traceparents],
                took_s,
                project=project,
                call="list_jobs",
                outcome=outcome_label(last_answer(answer)),
                calls=sum(times for _, times in calls),
                requests=asked_for,
                jobs=len(answer.running) + len(answer.ended) if isinstance(answer, Listed) else None,
            )

    def calls_saved(self, project: str, calls: int) -> None:
        self._metrics.count(CALLS_SAVED, project, by=max(0, calls))

    def status_unknown(self, watch: Watch, status: object) -> None:
        """CPH gave a status that its documents do not have."""
        logs.event("job.status_unknown", level=logging.WARNING, **_job(watch, watch.job_id), status=status)
        self._metrics.count(UNKNOWN_STATUSES, watch.project)

    def job_ended(self, asked: Watch | WatchedRequest, job_id: str | None, state: JobState) -> None:
        logs.event("job.ended", **_job(asked, job_id), state=state)

    def job_lost(self, watch: Watch) -> None:
        logs.event("job.lost", level=logging.WARNING, **_job(watch, watch.job_id))

    def attempt(
        self,
        send: Callable[[str | None], Attempt],
        begun: StartedAttempt,
        told: Sequence[tuple[Registration, Event]],
        format_name: str,
    ) -> Attempt:
        """Sends one message about all that is `told`. send: is given the traceparent that goes out with it."""
        registration, event = told[0]
        if self._tracing:
            with self._tracing.deliver(
                [registration.traceparent for registration, _ in told],
                delivery_id=begun.claimed.id,
                event_id=event.id,
                number=begun.number,
                format=format_name,
                digest=[event.id for _, event in told] if len(told) > 1 else None,
            ) as span:
                attempt = send(span.traceparent)
                delivered = attempt.verdict is Verdict.DELIVERED
                span.record_outcome(verdict=attempt.verdict, delivered=delivered, status_code=attempt.status_code)
        else:
            attempt = send(registration.traceparent)
        self._metrics.count(ATTEMPTS, format_label(format_name), attempt.verdict, tenant=registration.tenant)
        self._metrics.observe(ATTEMPT_DURATION, attempt.timings.total.total_seconds())
        return attempt

    def delivery_attempted(
        self,
        begun: StartedAttempt,
        registration: Registration,
        event: Event,
        attempt: Attempt,
        *,
        line: Mapping[str, Any],
        next_step: NextStep,
        now: datetime,
    ) -> None:
        """line: as it goes into the log of attempts."""
        since = earliest_delivery_time(event, registration)
        if since and begun.number == 1:
            self._watched(registration, event)
        if since and attempt.verdict is Verdict.DELIVERED:
            self._metrics.observe(DELIVERED_AFTER, max(0.0, (now - since).total_seconds()))
        logs.event(
            "delivery.attempted",
            delivery_id=begun.claimed.id,
            event_id=event.id,
            registration_id=event.registration_id,
            trace_id=registration.trace_id,
            attempt_id=line["id"],
            number=begun.number,
            verdict=attempt.verdict,
            status_code=attempt.status_code,
            error=attempt.error,
            service_message=attempt.service_message,
            state=next_step.state,
            **({"digest": line["digest"]} if "digest" in line else {}),
            **line["timings"],
        )

    def delivery_died(self, begun: StartedAttempt, death: str) -> None:
        self._metrics.count(DEATHS, death, tenant=split_lane(begun.claimed.lane)[0])

    def _watched(self, registration: Registration, event: Event) -> None:
        """Told at the first attempt, where both ends of the span are known without another round trip to Redis."""
        if self._tracing and registration.traceparent:
            self._tracing.watched(
                registration.traceparent,
                registration.created_at,
                event.observed_at,
                registration_id=registration.id,
                event_id=event.id,
                project=registration.project,
            )


def _job(asked: Watch | WatchedRequest, job_id: str | None) -> dict[str, Any]:
    """For the log; the trace is known where we trace as well."""
    return {"project": asked.project, "job_id": job_id, "trace_id": common_trace_id(asked.traceparents)}


def last_answer(answer: Listing) -> Listing:
    """Of a list the last page may have failed."""
    return answer.silence or answer if isinstance(answer, Listed) else answer


def outcome_label(answer: Outcome | Listing) -> str:
    match answer:
        case Answered() | Listed():
            return "answered"
        case Unknown() | NoSuchRequest():
            return "unknown"
        case MayNotList():
            return "forbidden"
        case Unanswered(unauthenticated=True):
            return "refused"
        case Unanswered(throttled=None):
            return "unanswered"
        case Unanswered():
            return "throttled"


def calls_of(answer: Listing) -> list[tuple[Listing, int]]:
    """Each kind of answer that a list took, and how often: the last page may have failed."""
    if not isinstance(answer, Listed):
        return [(answer, 1)]
    return [(answer, answer.calls), *([(answer.silence, 1)] if answer.silence else [])]


def earliest_delivery_time(event: Event, registration: Registration) -> datetime | None:
    """Nobody could have been told earlier; None for what is no end of a job."""
    if event.about is None or isinstance(event.about, DestinationChange):
        return None
    ended = parse_rfc3339(event.about.end_time) if isinstance(event.about, Job) else None
    return max(ended or event.observed_at, registration.created_at)


def format_label(name: str) -> str:
    """Of a format: templates are the operator's own, and may be many."""
    return TEMPLATE if name.startswith(f"{TEMPLATE}:") else name
