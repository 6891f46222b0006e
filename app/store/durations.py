"""Durations of jobs: counted when jobs end, and read to decide when to poll."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from app.domain.cadence import FADE_ABOVE, Durations, bucket_of
from app.domain.errors import Unavailable, UnfitRedis
from app.store.engine import keys
from app.store.engine.client import Client
from app.store.engine.scripts import ScriptCall
from app.store.engine.unreadable import whole

CACHE_FOR = timedelta(seconds=10)
MOST_KINDS = 1_000  # bounds the cache: callers choose the names of operations

Kind = tuple[str, str]  # project, operation; '' for all jobs of the project


class SeenDurations:
    """Thread-safe; two threads may read the same durations, which is harmless."""

    def __init__(self, redis: Client, clock: Callable[[], datetime], *, retention: timedelta) -> None:
        self._redis = redis
        self._clock = clock
        self._life_s = int(retention.total_seconds())
        self._read: dict[Kind, tuple[datetime, Durations | None]] = {}

    def record(self, project: str, operation: str | None, durations: Iterable[timedelta]) -> ScriptCall:
        return ScriptCall(
            "record_durations",
            project=project,
            operation=operation or "",
            fade_above=FADE_ABOVE,
            keep_s=self._life_s,
            buckets=[bucket_of(duration) for duration in durations],
        )

    def of(self, project: str, operation: str | None) -> Durations | None:
        """Returns the durations of the operation, else of the project; None if neither has enough data."""
        known = self._of((project, operation)) if operation else None
        return known or self._of((project, ""))

    def _of(self, kind: Kind) -> Durations | None:
        now = self._clock()
        read_at, durations = self._read.get(kind, (None, None))
        if read_at is None or now >= read_at + CACHE_FOR:
            durations = self._load(kind, durations)
            if len(self._read) >= MOST_KINDS:
                self._read.clear()
            self._read[kind] = (now, durations)
        return durations

    def _load(self, kind: Kind, last: Durations | None) -> Durations | None:
        """Returns the cached durations if Redis is unavailable, so that polling does not wait for them."""
        try:
            counts = self._redis.hgetall(keys.durations(*kind))
        except (Unavailable, UnfitRedis):
            return last
        readable = {whole(bucket, None): whole(jobs, 0) for bucket, jobs in counts.items()}
        return Durations.from_counts({bucket: jobs for bucket, jobs in readable.items() if bucket is not None})
