"""Polls single jobs with ShowJob."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter

from app.cph.client import Answered, CphClient, Outcome, Unanswered, Unknown
from app.cph.parsing import STATES
from app.domain.job import Job, JobState, Unresolved, UnresolvedReason
from app.store.agenda import Agenda, Claimed
from app.store.engine.scripts import ScriptCall
from app.store.requests import Requests, is_request
from app.store.watches import Watch, Watches
from workers.polling.backoff import back_off, why_unresolved
from workers.polling.list_jobs import ListJobsTask, RequestPoller
from workers.polling.project_health import HealthRecorder
from workers.polling.schedule import PollSchedule
from workers.telemetry import Telemetry

NO_PROJECT_PAUSE = timedelta(minutes=1)
LIST_AGAIN_AFTER = timedelta(minutes=10)  # a list that could not be read may be sound again


@dataclass(frozen=True, slots=True)
class ShowJobTask:
    claimed: Claimed
    watch: Watch

    @property
    def tenant(self) -> str:
        return self.claimed.tenant


class PollWorker:
    """Polls jobs, by ShowJob or ListJobs, and records their ends."""

    def __init__(
        self,
        *,
        agenda: Agenda,
        watches: Watches,
        requests: Requests,
        clients: Mapping[str, CphClient],
        schedule: PollSchedule,
        lost_grace: timedelta,
        health: HealthRecorder,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        crash_point: Callable[[str], None],
    ) -> None:
        self.agenda = agenda
        self._watches = watches
        self._requests = requests
        self._request_poller = RequestPoller(
            agenda=agenda,
            requests=requests,
            clients=clients,
            health=health,
            schedule=schedule,
            telemetry=telemetry,
            clock=clock,
            crash_point=crash_point,
        )
        self._clients = clients
        self._schedule = schedule
        self._lost_grace = lost_grace
        self._health = health
        self._telemetry = telemetry
        self._clock = clock
        self._crash_point = crash_point

    def prepare(self, claimed: Sequence[Claimed]) -> list[ShowJobTask | ListJobsTask]:
        jobs = [item for item in claimed if not is_request(item)]
        watches = self._watches.load(jobs, traced=self._telemetry.traces) if jobs else []
        show_tasks = [ShowJobTask(item, watch) for item, watch in zip(jobs, watches, strict=True) if watch]
        requests = [item for item in claimed if is_request(item)]
        return [*show_tasks, *(self._request_poller.prepare(requests) if requests else [])]

    def do(self, task: ShowJobTask | ListJobsTask) -> Sequence[ScriptCall]:
        self._crash_point("poll.claimed")
        return self._request_poller.do(task) if isinstance(task, ListJobsTask) else self._show_job(task)

    def _show_job(self, task: ShowJobTask) -> Sequence[ScriptCall]:
        project = task.claimed.lane
        client = self._clients.get(project)
        if client is None:
            no_answer = Unanswered("the project is not configured", NO_PROJECT_PAUSE, permanent=True)
            return self._after(task, no_answer, self._clock())
        began = perf_counter()
        outcome = client.show_job(task.watch.job_id)
        self._telemetry.show_job_called(task.watch, task.watch.job_id, outcome, perf_counter() - began)
        now, scripts = self._clock(), list[ScriptCall]()
        if isinstance(outcome, Unanswered):
            outcome, scripts = self._health.judge(project, client, outcome, now)
        return [*scripts, *self._after(task, outcome, now), *self._health.record(project, client, outcome, now)]

    def _after(self, task: ShowJobTask, outcome: Outcome, now: datetime) -> Sequence[ScriptCall]:
        match outcome:
            case Answered(job):
                return self._after_answer(task, job, now)
            case Unknown():
                return [self._after_unknown(task, now)]
            case Unanswered():
                return self._after_no_answer(task, outcome, now)

    def _after_answer(self, task: ShowJobTask, job: Job, now: datetime) -> list[ScriptCall]:
        watch = task.watch
        if job.state.ended:
            self._crash_point("poll.ended")
            self._telemetry.job_ended(watch, watch.job_id, job.state)
            seen_running = [job] if watch.was_shown else []
            return [
                self._watches.complete(task.claimed, job, now),
                *self._schedule.record_durations(watch, seen_running, now),
            ]
        if job.status not in STATES:
            self._telemetry.status_unknown(watch, job.status)
        calls = [self._watches.postpone(task.claimed, watch, self._schedule.due(watch, now), now, job)]
        again = bool(watch.unlisted_since and now >= watch.unlisted_since + LIST_AGAIN_AFTER)
        if job.request_id and (again or job.request_id != watch.request_id):
            calls.append(self._requests.join(watch.project, watch.job_id, job.request_id, now, again=again))
        return calls

    def _after_unknown(self, task: ShowJobTask, now: datetime) -> ScriptCall:
        watch = task.watch
        lost_at = (watch.unknown_since or now) + self._lost_grace
        if now >= lost_at:
            reason = UnresolvedReason.NOT_LISTED if watch.was_running else UnresolvedReason.NEVER_SEEN
            self._telemetry.job_lost(watch, reason)
            job = Job(watch.job_id, JobState.LOST, unresolved=Unresolved(reason, last_answer_at=now))
            return self._watches.complete(task.claimed, job, now)
        due = min(self._schedule.due_unknown(watch, now), lost_at)
        return self._watches.postpone_unknown(task.claimed, watch, due, now)

    def _after_no_answer(self, task: ShowJobTask, answer: Unanswered, now: datetime) -> list[ScriptCall]:
        """Polls again later: each registration's deadline bounds how long CPH may fail to answer."""
        return [
            self._watches.postpone(
                task.claimed, task.watch, self._schedule.due(task.watch, now), now, failing=why_unresolved(answer)
            ),
            *back_off(self.agenda, self._telemetry, task.claimed.lane, answer, now),
        ]
