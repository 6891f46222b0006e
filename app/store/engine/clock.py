"""Time by Redis' clock, so that workers whose own clocks are wrong agree."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import inf

from app.domain.errors import Unavailable
from app.store.engine.client import Client
from app.store.engine.connection import NO_RETRY

REFRESH_EVERY = timedelta(seconds=5)
RETRY_AFTER = timedelta(seconds=1)
MAX_ROUND_TRIP = timedelta(seconds=1)  # a slower answer is discarded as stale: this process may have been suspended


class RedisClock:
    """Returns the time when called. Without an answer from Redis, which is asked once, the last known offset applies.

    local_clock: this machine's clock, in seconds since 1970.
    """

    def __init__(self, redis: Client, local_clock: Callable[[], float]) -> None:
        self._redis = redis.with_retries(NO_RETRY)
        self._local_clock = local_clock
        self._ahead = 0.0
        self._refresh_at = float("-inf")

    def __call__(self) -> datetime:
        if time.monotonic() >= self._refresh_at:
            self._refresh()
        return datetime.fromtimestamp(self._local_clock() + self._ahead, UTC)

    @property
    def ahead(self) -> timedelta:
        """How far Redis' clock is ahead of this machine's, as last measured; negative if behind."""
        return timedelta(seconds=self._ahead)

    def _refresh(self) -> None:
        self._refresh_at = time.monotonic() + REFRESH_EVERY.total_seconds()
        before = self._local_clock()
        try:
            seconds, microseconds = self._redis.time()
            after = self._local_clock()
        except Unavailable:
            after = inf
        if after - before > MAX_ROUND_TRIP.total_seconds():
            self._refresh_at = time.monotonic() + RETRY_AFTER.total_seconds()
            return
        self._ahead = seconds + microseconds / 1e6 - (before + after) / 2
