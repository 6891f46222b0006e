"""Requests: what one ListJobs answers for, instead of a ShowJob for each job."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.job import Job, JobState
from app.domain.times import from_ms, to_ms
from app.domain.wire import to_json
from app.store.agenda import Claimed
from app.store.engine.scripts import Argument, ScriptCall, Scripts
from app.store.watches import with_traces

ITEM = "request:"  # begins a request's id on the agenda; no job's id has a colon
MEMBER, LOOKS = "job:", "reg_"
SHOWN, SEEN = "1", "seen:"
NOT_KNOWN = -1


@dataclass(frozen=True, slots=True)
class ListCursor:
    """Where a list goes on that was too long for one call. unseen: members that no page of it has shown yet."""

    page: int
    unseen: frozenset[str]


@dataclass(frozen=True, slots=True)
class WatchedRequest:
    """joined: jobs that have named it, or of which a caller has said so.
    shown: jobs that ListJobs has shown, and that nothing else asks for any more.
    looked_for: somebody wants all of its jobs; fresh: and knows none yet.
    cut: if its list was, last time. traceparents: of those who wait for its jobs, if wanted.
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
        """Asked for together with others, a list does not say which job is whose; one may be over; one may be long."""
        return bool(self.unconfirmed or self.wants_all or not self.shown or self.cut)


def is_request(claimed: Claimed) -> bool:
    return claimed.id.startswith(ITEM)


class Requests:
    """quiet: how long nothing new must come until all jobs of a request are known. grace: how long it may show none."""

    def __init__(self, scripts: Scripts, *, quiet: timedelta, grace: timedelta, retention: timedelta) -> None:
        self._scripts = scripts
        self._quiet = quiet
        self._grace = grace
        self._keep_s = int(retention.total_seconds())

    def load(self, claimed: Sequence[Claimed], *, traced: bool = False) -> list[WatchedRequest]:
        """One round trip for all. One without jobs is over; it is told by `listed`, as any other. traced: with their
        traceparents."""
        calls = [ScriptCall("load_request", project=item.lane, request=_id(item)) for item in claimed]
        answers, traces = with_traces(self._scripts, calls, claimed if traced else ())
        return [_request(*of_one) for of_one in zip(claimed, answers, traces, strict=True)]

    @staticmethod
    def join(project: str, job_id: str, request_id: str, now: datetime) -> ScriptCall:
        """The job's own answer has named this request."""
        return ScriptCall("join_request", now=to_ms(now), project=project, job=job_id, request=request_id)

    def record_list(
        self,
        asked: tuple[Claimed, WatchedRequest],
        now: datetime,
        due: datetime,
        *,
        running: Collection[str],
        ended: Collection[Job],
        goes_on: int | None = None,
        on_reply: Callable[[Sequence[str]], None] | None = None,
    ) -> ScriptCall:
        """It was asked for, and so will be at `due`. running, ended: all of its jobs, or at least its members.

        goes_on: the page before which its list was cut; of what may come there nothing is said. on_reply: is told which
        of the jobs somebody had waited for: a list shows those that have ended again and again.
        """
        claimed, request = asked
        if request.wants_all:
            due = min(due, now + self._quiet)
        # What is known need not be said again, but to those who know nothing.
        new = running if request.nothing_known else [job_id for job_id in running if job_id not in request.shown]
        seen = {*running, *(job.job_id for job in ended)}
        earlier = request.cut.page if request.cut else 0
        members = request.members & request.cut.unseen if request.cut and earlier else request.members
        unseen = members - seen
        cut = None if goes_on is None else ListCursor(goes_on, unseen)
        return ScriptCall(
            "record_list",
            on_reply,
            **self._about(claimed, now, due, cut),
            total=NOT_KNOWN if cut else len(seen) + earlier,
            shown=[*(word for job_id in new for word in (job_id, JobState.RUNNING, "")), *_ends(ended)],
            missing=[] if cut else list(unseen),
        )

    def postpone(self, claimed: Claimed, now: datetime, due: datetime, cut: ListCursor | None = None) -> ScriptCall:
        """It could not be asked for, or need not be: ask at `due`, if anybody waits for any of its jobs then."""
        return ScriptCall("record_list", **self._about(claimed, now, due, cut), total=NOT_KNOWN, shown=(), missing=())

    def fall_back_to_job_ids(self, asked: tuple[Claimed, WatchedRequest], now: datetime, due: datetime) -> ScriptCall:
        """It may not be asked for: its jobs are, each by itself."""
        claimed, request = asked
        about = self._about(claimed, now, due)
        return ScriptCall("record_list", **about, total=NOT_KNOWN, shown=(), missing=list(request.members))

    def _about(
        self, claimed: Claimed, now: datetime, due: datetime, cut: ListCursor | None = None
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
            "cursor": to_json([cut.page, *cut.unseen]) if cut else "",
        }


def _id(claimed: Claimed) -> str:
    return claimed.id.removeprefix(ITEM)


def _request(claimed: Claimed, answer: Sequence[str], traceparents: tuple[str, ...]) -> WatchedRequest:
    fields = dict(zip(answer[::2], answer[1::2], strict=True))
    jobs = {name.removeprefix(MEMBER): kind for name, kind in fields.items() if name.startswith(MEMBER)}
    looks = [last for name, last in fields.items() if name.startswith(LOOKS)]
    shown = frozenset(job for job, kind in jobs.items() if kind == SHOWN)
    return WatchedRequest(
        project=claimed.lane,
        id=_id(claimed),
        since=from_ms(int(fields.get("since", 0))),
        unconfirmed=frozenset(jobs) - shown,
        shown=shown,
        wants_all=bool(looks),
        nothing_known=not all(last.startswith(SEEN) for last in looks),
        operation=fields.get("operation"),
        cut=_cut(fields.get("cut")),
        traceparents=traceparents,
    )


def _cut(kept: str | None) -> ListCursor | None:
    if not kept:
        return None
    page, *unseen = json.loads(kept)
    return ListCursor(page, frozenset(unseen))


def _ends(jobs: Iterable[Job]) -> Iterator[str]:
    for job in jobs:
        yield from (job.job_id or "", job.state, to_json(job.as_dict()))


def _ms(time: timedelta) -> int:
    return time // timedelta(milliseconds=1)
