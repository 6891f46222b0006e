"""Metrics, traces and log lines of the workers."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from app import logs
from app.cph.client import Answered, Listed, Listing, MayNotList, NoSuchRequest, Outcome, Unanswered, Unknown
from app.domain.delivery import NextStep
from app.domain.destination import split_lane
from app.domain.event import DestinationChange, Event
from app.domain.job import Job, JobState, UnresolvedReason
from app.domain.project_health import CHECK_CREDENTIALS, TRY_AT_ONCE
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
        """True if tracing is on, so traceparents must be loaded."""
        return self._tracing is not None

    def show_job_called(self, asked: Watch | WatchedRequest, job_id: str, outcome: Outcome, took_s: float) -> None:
        label = outcome_label(outcome)
        self._metrics.count(POLLS, asked.project, "show_job", label)
        if self._tracing:
            self._tracing.record_poll(
                asked.traceparents, took_s, outcome=label, project=asked.project, call="show_job", job_id=job_id
            )

    def project_checked(self, project: str, outcome: Outcome) -> None:
        self._metrics.count(POLLS, project, "show_job", outcome_label(outcome))

    def list_jobs_called(
        self, requests: Sequence[WatchedRequest], asked_for: int, answer: Listing, took_s: float
    ) -> None:
        """asked_for: how many of the requests the call named."""
        project, calls = requests[0].project, calls_of(answer)
        for part, times in calls:
            self._metrics.count(POLLS, project, "list_jobs", outcome_label(part), by=times)
        if self._tracing:
            self._tracing.record_poll(
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
        """Reports a job status that CPH's documentation does not list."""
        logs.event("job.status_unknown", level=logging.WARNING, **_job(watch, watch.job_id), status=status)
        self._metrics.count(UNKNOWN_STATUSES, watch.project)

    def job_ended(self, asked: Watch | WatchedRequest, job_id: str | None, state: JobState) -> None:
        logs.event("job.ended", **_job(asked, job_id), state=state)

    def job_lost(self, watch: Watch, reason: UnresolvedReason) -> None:
        logs.event("job.lost", level=logging.WARNING, **_job(watch, watch.job_id), reason=reason)

    def may_not_list(self, project: str, reason: str) -> None:
        remedy = (
            "grant cph:jobs:list, or check that this endpoint supports ListJobs; without it, every job is polled"
            " separately, and registrations of whole requests find no jobs"
        )
        logs.event("project.may_not_list", level=logging.WARNING, project=project, reason=reason, remedy=remedy)

    def list_failed(self, request: WatchedRequest, reason: str, jobs: int) -> None:
        """jobs: how many jobs ShowJob polls instead."""
        logs.event(
            "request.list_failed",
            level=logging.WARNING,
            project=request.project,
            request_id=request.id,
            reason=reason,
            jobs=jobs,
        )

    def cph_unreadable(self, project: str, reason: str) -> None:
        """reason: what cannot be read; never the content of the answer."""
        logs.event("cph.unreadable", level=logging.WARNING, project=project, reason=reason)

    def cph_unanswered(self, project: str, reason: str) -> None:
        logs.event("cph.unanswered", level=logging.WARNING, project=project, reason=reason)

    def project_refused(self, project: str, reason: str, advice: str | None, pause: timedelta) -> None:
        remedy, pause_s = f"{advice or CHECK_CREDENTIALS}; {TRY_AT_ONCE}", int(pause.total_seconds())
        logs.event(
            "project.refused", level=logging.ERROR, project=project, reason=reason, pause_s=pause_s, remedy=remedy
        )

    def project_answers_again(self, project: str) -> None:
        logs.event("project.answers_again", project=project)

    def attempt(
        self,
        send: Callable[[str | None], Attempt],
        begun: StartedAttempt,
        contents: Sequence[tuple[Registration, Event]],
        format_name: str,
    ) -> Attempt:
        """Calls `send` within a span, with the traceparent to send along. contents: what the message is about."""
        registration, event = contents[0]
        if self._tracing:
            with self._tracing.deliver(
                [registration.traceparent for registration, _ in contents],
                delivery_id=begun.claimed.id,
                event_id=event.id,
                number=begun.number,
                format=format_name,
                digest=[event.id for _, event in contents] if len(contents) > 1 else None,
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
            **{name: line[name] for name in ("digest", "fallback") if name in line},
            **line["timings"],
        )

    def delivery_died(self, begun: StartedAttempt, death: str) -> None:
        self._metrics.count(DEATHS, death, tenant=split_lane(begun.claimed.lane)[0])

    def url_gone(self, begun: StartedAttempt) -> None:
        logs.event("delivery.url_gone", delivery_id=begun.claimed.id, registration_id=begun.facts[0])

    def delivery_not_sent(self, begun: StartedAttempt, reason: str) -> None:
        logs.event("delivery.not_sent", level=logging.ERROR, delivery_id=begun.claimed.id, reason=reason)

    def delivery_abandoned(self, begun: StartedAttempt, death: str) -> None:
        logs.event("delivery.abandoned", delivery_id=begun.claimed.id, reason=death)

    def delivery_given_up(self, begun: StartedAttempt) -> None:
        logs.event("delivery.given_up", level=logging.ERROR, delivery_id=begun.claimed.id, number=begun.number)

    def destination_changed(self, lane: str, change: str) -> None:
        """change: of the destination's state; '' for none."""
        if change:
            tenant, destination = split_lane(lane)
            level = logging.INFO if change == "answers_again" else logging.WARNING
            logs.event(f"destination.{change}", level=level, tenant=tenant, destination=destination)

    def _watched(self, registration: Registration, event: Event) -> None:
        """Called at the first attempt, where both ends of the span are known without another round trip to Redis."""
        if self._tracing and registration.traceparent:
            self._tracing.record_watch(
                registration.traceparent,
                registration.created_at,
                event.observed_at,
                registration_id=registration.id,
                event_id=event.id,
                project=registration.project,
            )


def _job(asked: Watch | WatchedRequest, job_id: str | None) -> dict[str, Any]:
    """Returns log fields. The trace id is known only while tracing is on."""
    return {"project": asked.project, "job_id": job_id, "trace_id": common_trace_id(asked.traceparents)}


def last_answer(answer: Listing) -> Listing:
    """Returns the answer to the last page."""
    return answer.failure or answer if isinstance(answer, Listed) else answer


def unreadable_part(answer: Outcome | Listing) -> Unanswered | None:
    """Returns the answer if it could not be read, and what stands for the unreadable records of a list."""
    if isinstance(answer, Listed) and answer.unreadable and answer.pages:
        return Unanswered(answer.unreadable, unreadable=True)
    return answer if isinstance(answer, Unanswered) and answer.unreadable else None


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
            return "unreadable" if answer.unreadable else "unanswered"
        case Unanswered():
            return "throttled"


def calls_of(answer: Listing) -> list[tuple[Listing, int]]:
    """Returns each kind of answer with its number of calls: the last page of a list may have failed.

    A list of which records could not be read counts as one unreadable page.
    """
    if not isinstance(answer, Listed):
        return [(answer, 1)]
    failed = [failure for failure in (answer.failure, unreadable_part(answer)) if failure]
    return [(answer, answer.calls - len(failed)), *((failure, 1) for failure in failed)]


def earliest_delivery_time(event: Event, registration: Registration) -> datetime | None:
    """Returns when the callback could first have been sent; None for events that are no end of a job."""
    if event.about is None or isinstance(event.about, DestinationChange):
        return None
    ended = parse_rfc3339(event.about.end_time) if isinstance(event.about, Job) else None
    return max(ended or event.observed_at, registration.created_at)


def format_label(name: str) -> str:
    """Returns the metric label of a format: one for all templates, as an operator may have many."""
    return TEMPLATE if name.startswith(f"{TEMPLATE}:") else name
