"""The world around the bridge: CPH and the receivers, as the workers see them, and what they have said."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from app.cph.client import Answered, Listed, Listing, MayNotList, NoSuchRequest, Outcome, Unanswered, Unknown
from app.cph.errors import Throttle
from app.domain.job import Job, JobState
from app.domain.verdict import Verdict
from app.formats.format import AnswerVerdict, ServiceAnswer
from app.transport.stopwatch import Stopwatch
from app.webhooks.sender import Attempt, failed
from tests.simulate.gate import Gate
from tests.support.manual_clock import ManualClock

REQUEST_OF: Mapping[str, str | None] = {"a": "r", "b": "r", "c": "r", "d": "s", "e": "s", "f": None, "g": None}
JOBS = tuple(REQUEST_OF)
REQUESTS = ("r", "s")
STATUS = {JobState.RUNNING: 1, JobState.SUCCEEDED: 2, JobState.FAILED: -1}
CLOUD_MODES = (
    *("ok", "ok", "ok", "error", "timeout", "throttled", "refused", "unreadable"),
    *("may_not_list", "no_list", "doubtful", "cut", "half"),
)
FAILURES: Mapping[str, Unanswered] = {
    "error": Unanswered("HTTP 500"),
    "timeout": Unanswered("timed out"),
    "throttled": Unanswered("HTTP 429", timedelta(seconds=10), Throttle(None, None, timedelta(seconds=10))),
    "refused": Unanswered("HTTP 401", timedelta(minutes=1), unauthenticated=True),
    "unreadable": Unanswered("it is a web page", unreadable=True),
}
CPH_TIMEOUT = timedelta(seconds=5)
URLS = ("https://one.example/hook", "https://one.example/other", "https://two.example/hook")
RECEIVER_MODES = ("ok", "ok", "500", "500", "429", "404", "410", "timeout", "unreachable")
RETRY_AFTER = timedelta(seconds=20)


@dataclass
class SimulatedCloud:
    """CPH. request_of: the request of each job, if it has one. states: the jobs that it knows. hidden: those that
    lists do not show.

    said: the end of each job that any answer has told. unknown: since when answers have said that they do not know a
    job, or `request:…`.
    """

    gate: Gate
    clock: ManualClock
    mode: str = "ok"
    request_of: Mapping[str, str | None] = field(default_factory=lambda: REQUEST_OF)
    states: dict[str, JobState] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    said: dict[str, JobState] = field(default_factory=dict)
    unknown: dict[str, datetime] = field(default_factory=dict)
    credentials_expire_at = None
    clock_ahead = None

    def show_job(self, job_id: str) -> Outcome:
        outcome: Outcome = self.gate.outside(lambda: self._show(job_id))
        return outcome

    def list_jobs(
        self, request_ids: Sequence[str], enough: Set[str] | None = None, *, first_page: int = 0, **_: Any
    ) -> Listing:
        listing: Listing = self.gate.outside(lambda: self._list(request_ids, first_page))
        return listing

    def _show(self, job_id: str) -> Outcome:
        if failure := self._failure():
            return failure
        if job_id in self.states:
            return Answered(self._told(job_id))
        self._told_unknown(job_id)
        return Unknown()

    def _list(self, request_ids: Sequence[str], first_page: int) -> Listing:
        if failure := self._failure():
            return failure
        if self.mode == "may_not_list":
            return MayNotList("CPS.0006")
        if self.mode == "no_list":
            return FAILURES["unreadable"]
        known = [job for job in sorted(self.states.keys() - self.hidden) if self.request_of.get(job) in request_ids]
        if {self.request_of.get(job) for job in known} != set(request_ids):
            for request in request_ids:
                self._told_unknown(f"request:{request}")
            return NoSuchRequest()
        short = self.mode in ("cut", "half")
        shown = known[first_page : first_page + 1] if short else known[first_page:]
        cut = short and first_page + 1 < len(known)
        if self.mode == "doubtful":
            return Listed(frozenset(), (), calls=1, doubtful=frozenset(shown), unreadable="not one can be read")
        jobs = [self._told(job) for job in shown]
        failure = FAILURES["error"] if cut and self.mode == "half" else None
        return Listed(
            running=frozenset(job.job_id or "" for job in jobs if not job.state.ended),
            ended=tuple(job for job in jobs if job.state.ended),
            calls=2 if failure else 1,
            cut=cut,
            failure=failure,
        )

    def _failure(self) -> Unanswered | None:
        if self.mode == "timeout":
            self.clock.now += CPH_TIMEOUT
        return FAILURES.get(self.mode)

    def _told(self, job_id: str) -> Job:
        state = self.states[job_id]
        if state.ended:
            self.said[job_id] = state
        return Job(job_id, state, status=STATUS[state], request_id=self.request_of.get(job_id))

    def _told_unknown(self, name: str) -> None:
        self.unknown.setdefault(name, self.clock())


@dataclass(frozen=True, slots=True)
class Post:
    """A request that has reached a receiver.

    turn: when its worker began the turn that claimed it (Gate.passed). began: when the worker began the task. until:
    when it ends at the latest.
    """

    url: str
    tenant: str
    headers: Mapping[str, str]
    body: bytes
    turn: int
    began: datetime
    at: datetime
    until: datetime


class Judge(Protocol):
    def received(self, post: Post) -> None: ...

    def attempt_is_over(self, event: str) -> None: ...


class Receivers:
    """modes: by URL. judge: of each request that arrives."""

    def __init__(self, gate: Gate, clock: ManualClock, judge: Judge) -> None:
        self.gate, self.clock, self.judge = gate, clock, judge
        self.modes = dict.fromkeys(URLS, "ok")
        self.confirmed: set[str] = set()  # events that a receiver has answered 2xx
        self.statuses: dict[str, list[int]] = {}  # the answers to each event
        self.gone: set[str] = set()  # URLs that have answered 410


class ScriptedSender:
    """Sends for one worker; stands for app.webhooks.sender.Sender. began, turn: of the current task."""

    def __init__(self, receivers: Receivers) -> None:
        self._receivers = receivers
        self.began = receivers.clock()
        self.turn = 0
        self.answered: list[tuple[str, Verdict]] = []  # by event, in the current task

    def post(
        self,
        url: str,
        *,
        tenant: str,
        headers: Mapping[str, str],
        body: bytes,
        judge: Callable[[ServiceAnswer], AnswerVerdict],
        deadline: timedelta,
        secrets: Iterable[str],
        stopwatch: Stopwatch,
    ) -> Attempt:
        until = self.began + deadline
        try:
            attempt: Attempt = self._receivers.gate.outside(
                lambda: self._exchange(url, tenant, headers, body, judge, until, stopwatch)
            )
        finally:
            self._receivers.judge.attempt_is_over(headers["webhook-id"])
        self.answered.append((headers["webhook-id"], attempt.verdict))
        return attempt

    def _exchange(
        self,
        url: str,
        tenant: str,
        headers: Mapping[str, str],
        body: bytes,
        judge: Callable[[ServiceAnswer], AnswerVerdict],
        until: datetime,
        stopwatch: Stopwatch,
    ) -> Attempt:
        receivers, mode = self._receivers, self._receivers.modes[url]
        clock = receivers.clock
        # The transport checks the time right before it writes.
        if mode == "unreachable" or clock() >= until:
            clock.now = max(clock.now, until)
            return failed(Verdict.RETRY, "timed out", stopwatch)
        receivers.judge.received(Post(url, tenant, headers, body, self.turn, self.began, clock(), until))
        if mode == "timeout":
            clock.now = until
            return _maybe_delivered(failed(Verdict.RETRY, "timed out", stopwatch))
        status = 200 if mode == "ok" else int(mode)
        event = headers["webhook-id"]
        receivers.statuses.setdefault(event, []).append(status)
        if status == 200:
            receivers.confirmed.add(event)
        if status == 410:
            receivers.gone.add(url)
        verdict = judge(ServiceAnswer(status, {}, b"", url))
        retry_after = RETRY_AFTER if status == 429 else None
        return Attempt(verdict.verdict, status, None, "", stopwatch.timings(), retry_after)


def _maybe_delivered(attempt: Attempt) -> Attempt:
    return Attempt(
        attempt.verdict, None, attempt.error, None, attempt.timings, attempt.retry_after, maybe_delivered=True
    )
