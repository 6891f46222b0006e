"""CPH requests: one ListJobs polls all jobs of a request, instead of one ShowJob for each."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.job import Job, JobState, Unresolved
from app.domain.times import to_ms
from app.domain.wire import to_json
from app.store.agenda import Claimed
from app.store.encryption.cipher import Cipher
from app.store.encryption.sealed_values import seal_job
from app.store.engine.scripts import Argument, ScriptCall, Scripts
from app.store.engine.unreadable import moment
from app.store.watches import stored_failure, with_traces

ITEM = "request:"  # prefix of a request's id on the agenda; no job id has a colon
JOB_FIELD, REGISTRATION_FIELD = "job:", "reg_"
SHOWN, SEEN = "1", "seen:"
NOT_KNOWN = -1


@dataclass(frozen=True, slots=True)
class ListCursor:
    """Where to continue a list that was too long for one call. unseen: members that no page of it has shown yet."""

    page: int
    unseen: frozenset[str]


@dataclass(frozen=True, slots=True)
class WatchedRequest:
    """A request to poll.

    unconfirmed: jobs assigned to it by their own answer or by a caller, which ListJobs has not shown yet.
    shown: jobs that ListJobs has shown; only ListJobs polls them.
    wants_all: a registration waits for all of its jobs. nothing_known: such a registration knows none of them yet.
    cut: where its last list was cut off. traceparents: of the waiting registrations, if loaded.
    """

    project: str
    id: str
    since: datetime
    unconfirmed: frozenset[str]
    shown: frozenset[str]
    wants_all: bool
    nothing_known: bool
    operation: str | None
    cut: ListCursor | None = None
    traceparents: tuple[str, ...] = ()

    @property
    def members(self) -> frozenset[str]:
        return self.unconfirmed | self.shown

    @property
    def wanted(self) -> bool:
        return bool(self.members or self.wants_all)

    @property
    def query_alone(self) -> bool:
        """True if its list must not be shared with other requests: a shared list does not
        say which request a job belongs to. Also if nothing of it was shown (it may be over), or if it is long."""
        return bool(self.unconfirmed or self.wants_all or not self.shown or self.cut)


def is_request(claimed: Claimed) -> bool:
    return claimed.id.startswith(ITEM)


class Requests:
    """quiet: time without a new job after which all jobs of a request are known. grace: how long it may show none."""

    def __init__(
        self, scripts: Scripts, cipher: Cipher, *, quiet: timedelta, grace: timedelta, retention: timedelta
    ) -> None:
        self._scripts = scripts
        self._cipher = cipher
        self._quiet = quiet
        self._grace = grace
        self._keep_s = int(retention.total_seconds())

    def load(self, claimed: Sequence[Claimed], *, traced: bool = False) -> list[WatchedRequest]:
        """Loads the requests in one round trip. One without jobs is over: `record_list` ends it, as for any other.

        traced: also loads their traceparents.
        """
        calls = [ScriptCall("load_request", project=item.lane, request=_id(item)) for item in claimed]
        answers, traces = with_traces(self._scripts, calls, claimed if traced else ())
        return [_request(*loaded) for loaded in zip(claimed, answers, traces, strict=True)]

    @staticmethod
    def join(project: str, job_id: str, request_id: str, now: datetime, *, again: bool = False) -> ScriptCall:
        """Adds a job to the request that its own answer has named. again: even if its list did not show it before."""
        return ScriptCall(
            "join_request", now=to_ms(now), project=project, job=job_id, request=request_id, again=int(again)
        )

    def record_list(
        self,
        asked: tuple[Claimed, WatchedRequest],
        now: datetime,
        due: datetime,
        *,
        running: Collection[str] = (),
        ended: Collection[Job] = (),
        doubtful: Collection[str] = (),
        next_page: int | None = None,
        complete: bool = True,
        failing: Unresolved | None = None,
        on_reply: Callable[[Sequence[str]], None] | None = None,
    ) -> ScriptCall:
        """Records a ListJobs of the request and schedules the next at `due`.

        running, ended: all of its jobs, or at least its members. doubtful: jobs of which the list does not say whether
        they run: ShowJob polls them. next_page: where its list was cut off; jobs that may come later are not treated as
        missing. complete: False if the rest of the list cannot be had: ShowJob polls the members that it has not shown.
        failing: why its last page was not read, or that CPH has no such request. on_reply: receives the ids of the
        ended jobs for which a registration waited: a list shows ended jobs every time.
        """
        claimed, request = asked
        if request.wants_all:
            due = min(due, now + self._quiet)
        # Known jobs need not be sent again, except to registrations that know none.
        shown = {*running, *doubtful} if request.wants_all else running
        new = shown if request.nothing_known else [job_id for job_id in shown if job_id not in request.shown]
        seen = {*running, *doubtful, *(job.job_id for job in ended)}
        earlier = request.cut.page if request.cut else 0
        members = request.members & request.cut.unseen if request.cut and earlier else request.members
        unseen = members - seen
        cut = None if next_page is None else ListCursor(next_page, unseen)
        return ScriptCall(
            "record_list",
            on_reply,
            **self._about(claimed, now, due, cut, failing),
            answered="" if failing and (cut or not complete) else to_ms(now),
            total=len(seen) + earlier if complete and cut is None else NOT_KNOWN,
            shown=[*(value for job_id in new for value in (job_id, JobState.RUNNING, "")), *self._ends(ended)],
            missing=[*(() if cut else unseen), *(doubtful if request.wants_all else members.intersection(doubtful))],
        )

    def postpone(
        self,
        claimed: Claimed,
        now: datetime,
        due: datetime,
        cut: ListCursor | None = None,
        *,
        failing: Unresolved | None = None,
    ) -> ScriptCall:
        """Schedules the request at `due` without a result, unless no registration waits for its jobs any more."""
        about = self._about(claimed, now, due, cut, failing)
        return ScriptCall("record_list", **about, answered="", total=NOT_KNOWN, shown=(), missing=())

    def fall_back_to_job_ids(
        self, asked: tuple[Claimed, WatchedRequest], now: datetime, due: datetime, failing: Unresolved | None = None
    ) -> ScriptCall:
        """Polls the jobs of the request by ShowJob, because ListJobs is not allowed for it."""
        claimed, request = asked
        about = self._about(claimed, now, due, failing=failing)
        return ScriptCall("record_list", **about, answered="", total=NOT_KNOWN, shown=(), missing=list(request.members))

    def _ends(self, jobs: Iterable[Job]) -> Iterator[str]:
        for job in jobs:
            yield from (job.job_id or "", job.state, to_json(seal_job(self._cipher, job)))

    def _about(
        self,
        claimed: Claimed,
        now: datetime,
        due: datetime,
        cut: ListCursor | None = None,
        failing: Unresolved | None = None,
    ) -> dict[str, Argument]:
        return {
            "now": to_ms(now),
            "project": claimed.lane,
            "request": _id(claimed),
            "fence": claimed.fence,
            "due": to_ms(due),
            "keep_s": self._keep_s,
            "quiet_ms": _ms(self._quiet),
            "grace_ms": _ms(self._grace),
            "failing": stored_failure(failing),
            "cursor": to_json([cut.page, *cut.unseen]) if cut else "",
        }


def _id(claimed: Claimed) -> str:
    return claimed.id.removeprefix(ITEM)


def _request(claimed: Claimed, answer: Sequence[str], traceparents: tuple[str, ...]) -> WatchedRequest:
    fields = dict(zip(answer[::2], answer[1::2], strict=True)) if answer else {}
    jobs = {name.removeprefix(JOB_FIELD): kind for name, kind in fields.items() if name.startswith(JOB_FIELD)}
    waiting = [seen for name, seen in fields.items() if name.startswith(REGISTRATION_FIELD)]
    shown = frozenset(job for job, kind in jobs.items() if kind == SHOWN)
    return WatchedRequest(
        project=claimed.lane,
        id=_id(claimed),
        since=moment(fields.get("since")) or claimed.due_at,
        unconfirmed=frozenset(jobs) - shown,
        shown=shown,
        wants_all=bool(waiting),
        nothing_known=not all(seen.startswith(SEEN) for seen in waiting),
        operation=fields.get("operation"),
        cut=_cut(fields.get("cut")),
        traceparents=traceparents,
    )


def _cut(stored: str | None) -> ListCursor | None:
    if not stored:
        return None
    with suppress(ValueError, TypeError):  # damaged: the list starts again
        page, *unseen = json.loads(stored)
        return ListCursor(int(page), frozenset(unseen))
    return None


def _ms(time: timedelta) -> int:
    return time // timedelta(milliseconds=1)
