"""The time by Redis' clock, so that workers whose clocks are wrong agree."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import inf

from app.domain.errors import Unavailable
from app.store.engine.client import Client
from app.store.engine.connection import NO_RETRY

RENEW = timedelta(seconds=5)
AGAIN = timedelta(seconds=1)
CURRENT = timedelta(seconds=1)  # an answer that took longer may be as old as that: this process may have stood still


class RedisClock:
    """Call it for the time. While Redis is away the last known difference goes on to hold: it is asked once.

    own: our own clock, in seconds since 1970.
    """

    def __init__(self, redis: Client, own: Callable[[], float]) -> None:
        self._redis = redis.with_tries(NO_RETRY)
        self._own = own
        self._ahead = 0.0
        self._renew_at = float("-inf")

    def __call__(self) -> datetime:
        if time.monotonic() >= self._renew_at:
            self._renew()
        return datetime.fromtimestamp(self._own() + self._ahead, UTC)

    @property
    def ahead(self) -> timedelta:
        """How much later it is by Redis' clock than by our own, as far as known."""
        return timedelta(seconds=self._ahead)

    def _renew(self) -> None:
        self._renew_at = time.monotonic() + RENEW.total_seconds()
        before = self._own()
        try:
            seconds, microseconds = self._redis.time()
            after = self._own()
        except Unavailable:
            after = inf
        if after - before > CURRENT.total_seconds():
            self._renew_at = time.monotonic() + AGAIN.total_seconds()
            return
        self._ahead = seconds + microseconds / 1e6 - (before + after) / 2
