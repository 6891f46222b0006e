"""Asks CPH about all jobs of some requests at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app import logs
from app.cph.client import REQUESTS_AT_ONCE, CphClient, Listed, NoSuchRequest, Unanswered
from app.cph.client import Listing as Answer
from app.domain.cadence import Cadence
from app.store.agenda import Agenda, Claimed
from app.store.requests import Request, Requests
from app.store.scripts import Call
from app.store.watches import Watches
from workers.noting import Noting
from workers.silence import hush

NOTHING = Listed(frozenset(), (), calls=1)


@dataclass(frozen=True, slots=True)
class RollCall:
    """Requests of one project that one ListJobs asks for."""

    claimed: tuple[Claimed, ...]
    requests: tuple[Request, ...]

    @property
    def project(self) -> str:
        return self.requests[0].project

    def one_by_one(self) -> list["RollCall"]:
        return [RollCall((item,), (request,)) for item, request in zip(self.claimed, self.requests, strict=True)]


class Listing:
    def __init__(
        self,
        *,
        agenda: Agenda,
        requests: Requests,
        watches: Watches,
        clients: Mapping[str, CphClient],
        noting: Noting,
        cadence: Cadence,
        clock: Callable[[], datetime],
    ) -> None:
        self._agenda = agenda
        self._requests = requests
        self._watches = watches
        self._clients = clients
        self._noting = noting
        self._cadence = cadence
        self._clock = clock

    def prepare(self, claimed: Sequence[Claimed]) -> list[RollCall]:
        """A request that a job has newly joined is asked for alone: only so is it known whose jobs are shown."""
        pairs = list(zip(claimed, self._requests.load(claimed), strict=True))
        alone = [RollCall((item,), (request,)) for item, request in pairs if request.joined]
        together: dict[str, list[tuple[Claimed, Request]]] = {}
        for item, request in pairs:
            if not request.joined:
                together.setdefault(request.project, []).append((item, request))
        batches = [
            found[first : first + REQUESTS_AT_ONCE]
            for found in together.values()
            for first in range(0, len(found), REQUESTS_AT_ONCE)
        ]
        return alone + [RollCall(*(tuple(column) for column in zip(*batch, strict=True))) for batch in batches]

    def do(self, task: RollCall) -> list[Call]:
        wanted = [request.id for request in task.requests if request.joined or request.shown]
        client = self._clients.get(task.project)
        if not wanted or client is None:
            now = self._clock()
            return [self._requests.listed(item, now, now + self._cadence.ceiling) for item in task.claimed]
        answer = client.list_jobs(wanted)
        return [*self._after(task, answer), *self._noting.after(task.project, client, answer, self._clock())]

    def _after(self, task: RollCall, answer: Answer) -> list[Call]:
        match answer:
            case NoSuchRequest() if len(task.requests) > 1:
                calls = [call for one in task.one_by_one() for call in self.do(one)]
                return [*calls, self._agenda.spend(task.project, 1)]
            case Unanswered():
                return self._after_silence(task, answer)
            case Listed():
                return self._after_list(task, answer)
            case NoSuchRequest():
                return self._after_list(task, NOTHING)

    def _after_list(self, task: RollCall, answer: Listed) -> list[Call]:
        now = self._clock()
        ended = {job.job_id: job for job in answer.ended}
        calls = [self._agenda.spend(task.project, answer.calls - len(task.requests))]
        for item, request in zip(task.claimed, task.requests, strict=True):
            members = request.joined | request.shown
            # Where one has joined, others of the same request may be waiting to be asked for one by one.
            mine, running = (ended.keys(), answer.running) if request.joined else (members & ended.keys(), frozenset())
            for job_id in mine:
                job = replace(ended[job_id], request_id=request.id)
                calls.append(self._watches.complete_listed(request.project, job, now))
                if job_id in members:  # of the others, nobody may wait for some
                    logs.event("job.ended", project=request.project, job_id=job_id, state=job.state)
            missing = members - answer.running - ended.keys()
            due = now + self._cadence.wait(now - request.since)
            calls.append(self._requests.listed(item, now, due, shown=running - request.shown, missing=missing))
        return calls

    def _after_silence(self, task: RollCall, answer: Unanswered) -> list[Call]:
        now = self._clock()
        calls = hush(self._agenda, task.project, answer, now)
        for item, request in zip(task.claimed, task.requests, strict=True):
            due = now + max(answer.pause or timedelta(), self._cadence.wait(now - request.since))
            calls.append(self._requests.listed(item, now, due))
        return calls
