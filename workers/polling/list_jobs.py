"""Polls all jobs of CPH requests with ListJobs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from time import perf_counter

from app.cph.client import REQUESTS_AT_ONCE, CphClient, Listed, Listing, MayNotList, NoSuchRequest, Unanswered
from app.domain.job import Job, Unresolved, UnresolvedReason
from app.store.agenda import Agenda, Claimed
from app.store.engine.scripts import ScriptCall
from app.store.requests import ListCursor, Requests, WatchedRequest
from workers.polling.backoff import back_off, why_unresolved
from workers.polling.project_health import HealthRecorder
from workers.polling.schedule import PollSchedule
from workers.telemetry import Telemetry, last_answer, unreadable_part

NOTHING = Listed(frozenset(), (), calls=1)


@dataclass(frozen=True, slots=True)
class ListJobsTask:
    """Requests of one project, polled with one ListJobs call."""

    claimed: tuple[Claimed, ...]
    requests: tuple[WatchedRequest, ...]

    @property
    def tenant(self) -> str:
        return self.claimed[0].tenant

    @property
    def project(self) -> str:
        return self.requests[0].project

    @property
    def enough(self) -> frozenset[str] | None:
        """The job ids that suffice; None if every job of the requests matters."""
        if any(request.query_alone for request in self.requests):
            return None
        return frozenset().union(*(request.shown for request in self.requests))

    @property
    def first_page(self) -> int:
        cut = self.requests[0].cut
        return cut.page if cut and len(self.requests) == 1 else 0

    @property
    def unseen(self) -> frozenset[str]:
        """The members that no page has shown yet."""
        cut = self.requests[0].cut
        members = frozenset().union(*(request.members for request in self.requests))
        return members & cut.unseen if cut and self.first_page else members

    def one_by_one(self) -> list["ListJobsTask"]:
        return [ListJobsTask((item,), (request,)) for item, request in zip(self.claimed, self.requests, strict=True)]


class RequestPoller:
    """Polls requests. See PollWorker for jobs without one."""

    def __init__(
        self,
        *,
        agenda: Agenda,
        requests: Requests,
        clients: Mapping[str, CphClient],
        health: HealthRecorder,
        schedule: PollSchedule,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        crash_point: Callable[[str], None],
    ) -> None:
        self._agenda = agenda
        self._requests = requests
        self._clients = clients
        self._health = health
        self._schedule = schedule
        self._telemetry = telemetry
        self._clock = clock
        self._crash_point = crash_point

    def prepare(self, claimed: Sequence[Claimed]) -> list[ListJobsTask]:
        """Returns tasks: many requests share a call, except those whose jobs must be told apart."""
        pairs = list(zip(claimed, self._requests.load(claimed, traced=self._telemetry.traces), strict=True))
        alone = [ListJobsTask((item,), (request,)) for item, request in pairs if request.query_alone]
        together: dict[str, list[tuple[Claimed, WatchedRequest]]] = {}
        for item, request in pairs:
            if not request.query_alone:
                together.setdefault(request.project, []).append((item, request))
        batches = [
            found[first : first + REQUESTS_AT_ONCE]
            for found in together.values()
            for first in range(0, len(found), REQUESTS_AT_ONCE)
        ]
        return alone + [ListJobsTask(*(tuple(column) for column in zip(*batch, strict=True))) for batch in batches]

    def do(self, task: ListJobsTask) -> list[ScriptCall]:
        wanted = [request.id for request in task.requests if request.wanted]
        client = self._clients.get(task.project)
        if not wanted or client is None:
            now = self._clock()
            not_configured = None if client else Unresolved(UnresolvedReason.CPH_REFUSED)
            return [
                self._requests.postpone(item, now, now + self._schedule.longest, failing=not_configured)
                for item in task.claimed
            ]
        answer = self._list_jobs(task, client, wanted, self._in_first_half(task.claimed[0]))
        answer, scripts = self._judge(task, client, answer)
        return [
            *scripts,
            *self._after(task, answer),
            *self._health.record(task.project, client, last_answer(answer), self._clock()),
        ]

    def _judge(self, task: ListJobsTask, client: CphClient, answer: Listing) -> tuple[Listing, list[ScriptCall]]:
        """Checks a refusal that may be the project's. ShowJob will tell of it for jobs that are known."""
        now = self._clock()
        match answer:
            case Unanswered():
                return self._health.judge(task.project, client, answer, now)
            case MayNotList(reason) if not any(request.members for request in task.requests):
                refused = Unanswered(reason, error_code=answer.error_code, remedy=answer.remedy)
                judged, scripts = self._health.check(task.project, client, refused, now)
                return judged if judged.unauthenticated else answer, scripts
            case _:
                return answer, []

    def _list_jobs(
        self, task: ListJobsTask, client: CphClient, wanted: Sequence[str], may_go_on: Callable[[], bool]
    ) -> Listing:
        began = perf_counter()
        answer = client.list_jobs(wanted, task.enough, first_page=task.first_page, may_go_on=may_go_on)
        self._telemetry.list_jobs_called(task.requests, len(wanted), answer, perf_counter() - began)
        return answer

    def _in_first_half(self, claimed: Claimed) -> Callable[[], bool]:
        """Returns a check: is half of the lease left? After its end another worker would start the list again."""
        now = self._clock()
        half = now + (claimed.lease_ends - now) / 2
        return lambda: self._clock() < half

    def _after(self, task: ListJobsTask, answer: Listing) -> list[ScriptCall]:
        match answer:
            case NoSuchRequest() if len(task.requests) > 1:
                return self._one_by_one(task)
            case Unanswered():
                return self._after_no_answer(task, answer)
            case MayNotList():
                return self._fall_back_to_job_ids(task, answer)
            case Listed(failure=failure):
                return self._after_list(task, answer, why_unresolved(failure) if failure else None)
            case NoSuchRequest():
                return self._after_list(task, NOTHING, Unresolved(UnresolvedReason.NEVER_SEEN))

    def _one_by_one(self, task: ListJobsTask) -> list[ScriptCall]:
        client, calls, failure = self._clients[task.project], [self._agenda.spend_budget(task.project, 1)], None
        may_go_on = self._in_first_half(task.claimed[0])
        for one in task.one_by_one():
            # An answer that pauses the project counts for the remaining requests, too.
            answer = failure or self._list_jobs(one, client, [one.requests[0].id], may_go_on)
            last = last_answer(answer)
            failure = last if isinstance(last, Unanswered) and last.pause else None
            calls += self._after(one, answer)
        return calls

    def _after_list(self, task: ListJobsTask, answer: Listed, failing: Unresolved | None) -> list[ScriptCall]:
        if answer.ended:
            self._crash_point("poll.ended")
        now = self._clock()
        calls = [self._agenda.spend_budget(task.project, answer.calls - len(task.requests))]
        for failure in (answer.failure, unreadable_part(answer)):
            calls += back_off(self._agenda, self._telemetry, task.project, failure, now) if failure else []
        # After a list of several requests, each request's next page is not known.
        alone = len(task.requests) == 1
        reported = 0
        next_page = (task.first_page + answer.pages if alone else 0) if answer.cut else None
        # A page that is damaged for the second time: the jobs that it does not show are polled by their ids.
        gives_up = alone and answer.failure and not answer.pages and task.requests[0].cut is not None
        if gives_up:
            next_page = None
        for item, request in zip(task.claimed, task.requests, strict=True):
            members = request.members
            # A request polled alone: registrations may wait for jobs of it that are no members yet.
            running = answer.running if request.query_alone else members & answer.running
            doubtful = answer.doubtful if request.query_alone else members & answer.doubtful
            ended = [
                replace(job, request_id=request.id)
                for job in answer.ended
                if request.query_alone or job.job_id in members
            ]
            reported += len(members & answer.seen)
            calls += self._schedule.record_durations(
                request, (job for job in ended if job.job_id in request.shown), now
            )
            due = self._schedule.due(request, now) if next_page is None else now
            calls.append(
                self._requests.record_list(
                    (item, request),
                    now,
                    due,
                    running=running,
                    ended=ended,
                    doubtful=doubtful,
                    next_page=next_page,
                    complete=not gives_up,
                    failing=failing,
                    on_reply=partial(self._log_ended, request, ended),
                )
            )
        self._telemetry.calls_saved(task.project, reported - answer.calls)
        return calls

    def _fall_back_to_job_ids(self, task: ListJobsTask, answer: MayNotList) -> list[ScriptCall]:
        """Falls back to ShowJob. A registration of the whole request ends by its deadline only."""
        self._telemetry.may_not_list(task.project, answer.reason)
        now = self._clock()
        due = now + self._schedule.longest
        failing = Unresolved(UnresolvedReason.CPH_REFUSED, last_error=answer.error_code)
        return [
            self._requests.fall_back_to_job_ids(asked, now, due, failing)
            for asked in zip(task.claimed, task.requests, strict=True)
        ]

    def _after_no_answer(self, task: ListJobsTask, answer: Unanswered) -> list[ScriptCall]:
        """Narrows down which request or page CPH cannot list, as long as it answers for single jobs."""
        now = self._clock()
        calls = back_off(self._agenda, self._telemetry, task.project, answer, now)
        alone = len(task.requests) == 1
        if answer.pause:
            return calls + self._postpone(task, answer, now, lambda request: request.cut)
        if alone and task.requests[0].cut is None:
            return calls + self._postpone(task, answer, now, lambda request: ListCursor(0, request.members))
        if not self._shows_a_job(task):
            # The list restarts: earlier pages must not wait for this one.
            return calls + self._postpone(task, answer, now, lambda _: None)
        calls.append(self._agenda.spend_budget(task.project, 1))
        if not alone:
            return calls + self._postpone(task, answer, now, lambda request: ListCursor(0, request.members), due=now)
        (request,) = task.requests
        self._telemetry.list_failed(request, answer.reason, len(task.unseen))
        asked, due = (task.claimed[0], request), self._schedule.due(request, now)
        failing = why_unresolved(answer)
        return [*calls, self._requests.record_list(asked, now, due, complete=False, failing=failing)]

    def _postpone(
        self,
        task: ListJobsTask,
        answer: Unanswered,
        now: datetime,
        cut: Callable[[WatchedRequest], ListCursor | None],
        due: datetime | None = None,
    ) -> list[ScriptCall]:
        """cut: returns where the next list of a request begins; with one, the request is polled alone."""
        failing = why_unresolved(answer)
        return [
            self._requests.postpone(
                item, now, due or self._schedule.due(request, now), cut=cut(request), failing=failing
            )
            for item, request in zip(task.claimed, task.requests, strict=True)
        ]

    def _shows_a_job(self, task: ListJobsTask) -> bool:
        """Does ShowJob work for a job of the list that failed? Then the failure is the list's, and not all of CPH's."""
        job_id = next(iter(task.unseen), None)
        if job_id is None:
            return False
        began = perf_counter()
        outcome = self._clients[task.project].show_job(job_id)
        self._telemetry.show_job_called(task.requests[0], job_id, outcome, perf_counter() - began)
        return not isinstance(outcome, Unanswered)

    def _log_ended(self, request: WatchedRequest, shown: Sequence[Job], ended: Sequence[str]) -> None:
        """ended: ids of the listed jobs for which a registration waited."""
        waited_for = frozenset(ended)
        for job in shown:
            if job.job_id in waited_for:
                self._telemetry.job_ended(request, job.job_id, job.state)
