"""Asks CPH about jobs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any

from app import logs
from app.cph.client import Answered, CphClient, Outcome, Unanswered, Unknown
from app.cph.parsing import STATES
from app.domain.job import Job, JobState
from app.domain.registration import common_trace_id
from app.observability.metric_definitions import POLLS, UNKNOWN_STATUSES
from app.observability.metric_registry import MetricRegistry
from app.store.agenda import Agenda, Claimed
from app.store.engine.scripts import ScriptCall
from app.store.requests import Requests, is_request
from app.store.watches import Watch, Watches
from workers.polling.backoff import back_off
from workers.polling.list_jobs import ListJobsTask, RequestPoller
from workers.polling.project_health import HealthRecorder
from workers.polling.schedule import Timing
from workers.telemetry import outcome_label

if TYPE_CHECKING:
    from app.observability.tracing import Tracing

NO_PROJECT_PAUSE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class ShowJobTask:
    claimed: Claimed
    watch: Watch


class PollWorker:
    """The work of a poll worker."""

    def __init__(
        self,
        *,
        agenda: Agenda,
        watches: Watches,
        requests: Requests,
        clients: Mapping[str, CphClient],
        timing: Timing,
        lost_grace: timedelta,
        noting: HealthRecorder,
        counts: MetricRegistry,
        tracing: "Tracing | None",
        clock: Callable[[], datetime],
        crash_point: Callable[[str], None],
    ) -> None:
        self.agenda = agenda
        self._watches = watches
        self._requests = requests
        self._listing = RequestPoller(
            agenda=agenda,
            requests=requests,
            clients=clients,
            noting=noting,
            timing=timing,
            counts=counts,
            tracing=tracing,
            clock=clock,
            crash_point=crash_point,
        )
        self._clients = clients
        self._timing = timing
        self._lost_grace = lost_grace
        self._noting = noting
        self._counts = counts
        self._tracing = tracing
        self._clock = clock
        self._crash_point = crash_point

    def prepare(self, claimed: Sequence[Claimed]) -> list[ShowJobTask | ListJobsTask]:
        jobs = [item for item in claimed if not is_request(item)]
        watches = self._watches.load(jobs, traced=self._tracing is not None) if jobs else []
        questions = [ShowJobTask(item, watch) for item, watch in zip(jobs, watches, strict=True) if watch]
        requests = [item for item in claimed if is_request(item)]
        return [*questions, *(self._listing.prepare(requests) if requests else [])]

    def do(self, task: ShowJobTask | ListJobsTask) -> Sequence[ScriptCall]:
        self._crash_point("poll.claimed")
        return self._listing.do(task) if isinstance(task, ListJobsTask) else self._ask(task)

    def _ask(self, task: ShowJobTask) -> Sequence[ScriptCall]:
        project = task.claimed.lane
        client = self._clients.get(project)
        if client is None:
            unanswered = Unanswered("the project is not configured", NO_PROJECT_PAUSE)
            return self._after(task, unanswered, self._clock())
        began = perf_counter()
        outcome = client.show_job(task.watch.job_id)
        self._counts.count(POLLS, project, "show_job", outcome_label(outcome))
        if self._tracing:
            about = {"project": project, "call": "show_job", "job_id": task.watch.job_id}
            self._tracing.polled(
                task.watch.traceparents, perf_counter() - began, outcome=outcome_label(outcome), **about
            )
        now = self._clock()
        return [*self._after(task, outcome, now), *self._noting.after(project, client, outcome, now)]

    def _after(self, task: ShowJobTask, outcome: Outcome, now: datetime) -> Sequence[ScriptCall]:
        match outcome:
            case Answered(job):
                return self._after_answer(task, job, now)
            case Unknown():
                return [self._after_unknown(task, now)]
            case Unanswered():
                return self._after_silence(task, outcome, now)

    def _after_answer(self, task: ShowJobTask, job: Job, now: datetime) -> list[ScriptCall]:
        watch = task.watch
        if job.state.ended:
            self._crash_point("poll.ended")
            logs.event("job.ended", **_about(watch), state=job.state)
            seen_running = [job] if watch.was_shown else []
            return [self._watches.complete(task.claimed, job, now), *self._timing.learn(watch, seen_running, now)]
        if job.status not in STATES:
            logs.event("job.status_unknown", level=logging.WARNING, **_about(watch), status=job.status)
            self._counts.count(UNKNOWN_STATUSES, watch.project)
        calls = [self._watches.postpone(task.claimed, watch, self._timing.due(watch, now), now, job)]
        if job.request_id and job.request_id != watch.request_id:
            calls.append(self._requests.join(watch.project, watch.job_id, job.request_id, now))
        return calls

    def _after_unknown(self, task: ShowJobTask, now: datetime) -> ScriptCall:
        watch = task.watch
        lost_at = (watch.unknown_since or now) + self._lost_grace
        if now >= lost_at:
            logs.event("job.lost", level=logging.WARNING, **_about(watch))
            return self._watches.complete(task.claimed, Job(watch.job_id, JobState.LOST), now)
        due = min(self._timing.due(watch, now), lost_at)
        return self._watches.postpone_unknown(task.claimed, watch, due, now)

    def _after_silence(self, task: ShowJobTask, answer: Unanswered, now: datetime) -> list[ScriptCall]:
        """Wait and go on: the deadline of each registration sees to it that silence is no outcome."""
        return [
            self._watches.postpone(task.claimed, task.watch, self._timing.due(task.watch, now), now),
            *back_off(self.agenda, task.claimed.lane, answer, now),
        ]


def _about(watch: Watch) -> dict[str, Any]:
    """For the log; the trace is known where we trace as well."""
    return {"project": watch.project, "job_id": watch.job_id, "trace_id": common_trace_id(watch.traceparents)}
