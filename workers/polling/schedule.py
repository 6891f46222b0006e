"""Decides when to poll again, from the durations of similar jobs, and records the durations of ended jobs."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from app.domain.cadence import Cadence, observed_duration, unknown_wait
from app.domain.job import Job
from app.domain.times import parse_rfc3339
from app.store.durations import SeenDurations
from app.store.engine.scripts import ScriptCall
from app.store.requests import WatchedRequest
from app.store.watches import Watch


class PollSchedule:
    def __init__(self, cadence: Cadence, durations: SeenDurations) -> None:
        self._cadence = cadence
        self._durations = durations

    @property
    def longest(self) -> timedelta:
        return self._cadence.ceiling

    def due(self, asked: Watch | WatchedRequest, now: datetime) -> datetime:
        """Returns when to poll next. Age counts from registering: CPH's `begin_time` may be years ago, or wrong."""
        durations = self._durations.of(asked.project, asked.operation)
        return now + self._cadence.wait(now - asked.since, durations)

    def due_unknown(self, watch: Watch, now: datetime) -> datetime:
        """Returns when to poll a job again that CPH does not know."""
        unknown_for = now - (watch.unknown_since or now)
        return now + unknown_wait(self.due(watch, now) - now, unknown_for)

    def record_durations(self, asked: Watch | WatchedRequest, ended: Iterable[Job], now: datetime) -> list[ScriptCall]:
        """Records jobs that were seen running and have now ended; one without a usable `end_time` ended now."""
        took = [observed_duration(asked.since, parse_rfc3339(job.end_time), now) for job in ended]
        known = [duration for duration in took if duration is not None]
        return [self._durations.record(asked.project, asked.operation, known)] if known else []
