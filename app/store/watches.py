"""Watches: one for each (project, job), however many registered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.job import Job, JobState
from app.domain.times import from_ms, to_ms
from app.domain.wire import to_json
from app.store.agenda import Claimed
from app.store.scripts import Call, Scripts

NO_FENCE = 0
LAST_SEEN = ("status", "request_id", "phone_id", "server_id", "begin_time")


@dataclass(frozen=True, slots=True)
class Watch:
    """What the poller needs to know of a job before it asks again."""

    project: str
    job_id: str
    since: datetime
    unknown_since: datetime | None
    last_seen: tuple[str | None, ...]  # as in LAST_SEEN

    @property
    def request_id(self) -> str | None:
        return self.last_seen[LAST_SEEN.index("request_id")]


class Watches:
    def __init__(self, scripts: Scripts, *, retention: timedelta) -> None:
        self._scripts = scripts
        self._keep_s = int(retention.total_seconds())

    def load(self, claimed: Sequence[Claimed]) -> list[Watch | None]:
        """One round trip for all; None where nobody waits any more."""
        calls = [Call("see", (item.lane, item.id, "since", "unknown_since", *LAST_SEEN)) for item in claimed]
        answers = self._scripts.run_all(calls)
        return [_watch(item, *answer) if answer else None for item, answer in zip(claimed, answers, strict=True)]

    def postpone(self, claimed: Claimed, watch: Watch, due: datetime, job: Job | None = None) -> Call:
        """Ask again at `due`. `job` is what CPH showed, None if it could not be had."""
        news = () if job is None else self._news(watch, job)
        return Call("postpone", (claimed.lane, claimed.id, claimed.fence, to_ms(due), *news))

    def postpone_unknown(self, claimed: Claimed, watch: Watch, due: datetime, now: datetime) -> Call:
        """CPH does not know the job; the grace time runs from the first time it said so."""
        news = () if watch.unknown_since else ("unknown_since", to_ms(now))
        return Call("postpone", (claimed.lane, claimed.id, claimed.fence, to_ms(due), *news))

    def complete(self, claimed: Claimed, job: Job, now: datetime) -> Call:
        """The job has ended: one event for each registration."""
        return self._complete(claimed.lane, job, now, claimed.fence)

    def complete_listed(self, project: str, job: Job, now: datetime) -> Call:
        """The same for a job that ListJobs has shown, which needs no lease."""
        return self._complete(project, job, now, NO_FENCE)

    def end_overdue(self, now: datetime, limit: int) -> tuple[int, datetime | None]:
        """Ends up to `limit` registrations whose deadline has passed; how many, and when the next deadline is."""
        ended, following = self._scripts.run(Call("overdue", (to_ms(now), limit, self._keep_s)))
        return ended, from_ms(int(following)) if following else None

    def _complete(self, project: str, job: Job, now: datetime, fence: int) -> Call:
        snapshot = to_json(job.as_dict())
        return Call("complete", (to_ms(now), project, job.job_id, fence, job.state.value, snapshot, self._keep_s))

    @staticmethod
    def _news(watch: Watch, job: Job) -> tuple[str, ...]:
        """Only what changed is written: most answers say "still running"."""
        seen = [job.status, job.request_id, job.phone_id, job.server_id, job.begin_time]
        now_seen = tuple(None if value is None else str(value) for value in seen)
        forget = ("unknown_since", "") if watch.unknown_since else ()
        if now_seen == watch.last_seen:
            return forget
        pairs = zip(LAST_SEEN, now_seen, strict=True)
        return ("state", JobState.RUNNING.value, *forget, *(text or "" for pair in pairs for text in pair))


def _watch(item: Claimed, since: str, unknown: str | None, *seen: str | None) -> Watch:
    return Watch(item.lane, item.id, from_ms(int(since)), from_ms(int(unknown)) if unknown else None, seen)
