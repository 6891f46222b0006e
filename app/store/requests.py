"""Requests: what one ListJobs answers for, instead of a ShowJob for each job."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.times import from_ms, to_ms
from app.store.agenda import Claimed
from app.store.scripts import Call, Scripts

ITEM = "request:"  # begins a request's id on the agenda; no job's id has a colon
MEMBER = "job:"


@dataclass(frozen=True, slots=True)
class Request:
    """joined: jobs that have named it. shown: jobs that ListJobs has shown, and that nothing else asks for any more."""

    project: str
    id: str
    since: datetime
    joined: frozenset[str]
    shown: frozenset[str]


def is_request(claimed: Claimed) -> bool:
    return claimed.id.startswith(ITEM)


class Requests:
    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def load(self, claimed: Sequence[Claimed]) -> list[Request]:
        """One round trip for all. One without jobs is over; it is told by `listed`, as any other."""
        answers = self._scripts.run_all(Call("members", (item.lane, _id(item))) for item in claimed)
        return [_request(item, answer) for item, answer in zip(claimed, answers, strict=True)]

    @staticmethod
    def join(project: str, job_id: str, request_id: str, now: datetime) -> Call:
        """The job's own answer has named this request."""
        return Call("join", (to_ms(now), project, job_id, request_id))

    @staticmethod
    def listed(
        claimed: Claimed, now: datetime, due: datetime, *, shown: Collection[str] = (), missing: Collection[str] = ()
    ) -> Call:
        """Ask again at `due`. shown: for the first time. missing: jobs that are not in the list."""
        about = (to_ms(now), claimed.lane, _id(claimed), claimed.fence, to_ms(due))
        return Call("listed", (*about, len(shown), *shown, *missing))


def _id(claimed: Claimed) -> str:
    return claimed.id.removeprefix(ITEM)


def _request(claimed: Claimed, answer: Sequence[str]) -> Request:
    fields = dict(zip(answer[::2], answer[1::2], strict=True))
    since = from_ms(int(fields.pop("since", 0)))
    jobs = {name.removeprefix(MEMBER): shown == "1" for name, shown in fields.items()}
    shown = frozenset(job for job, is_shown in jobs.items() if is_shown)
    return Request(claimed.lane, _id(claimed), since, frozenset(jobs) - shown, shown)
