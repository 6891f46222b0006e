"""Checks at intervals whether Redis has memory left."""

from collections.abc import Callable

from app.domain.errors import NearlyFull
from app.store.engine.client import Client

FULL = 0.8  # of maxmemory; the rest is for existing registrations
CHECK_EVERY_S = 2.0


class MemoryGuard:
    """Thread-safe; two threads may check at once, which is harmless. monotonic: clock in seconds."""

    def __init__(self, redis: Client, monotonic: Callable[[], float]) -> None:
        self._redis = redis
        self._monotonic = monotonic
        self._check_at = float("-inf")
        self._full = False

    def check(self) -> None:
        """Raises NearlyFull while no new registration should be accepted."""
        if self._monotonic() >= self._check_at:
            memory = self._redis.info("memory")
            limit = int(memory.get("maxmemory", 0))
            self._full = limit > 0 and int(memory["used_memory"]) >= FULL * limit
            self._check_at = self._monotonic() + CHECK_EVERY_S
        if self._full:
            raise NearlyFull("Redis is nearly full: raise its maxmemory, or wait until ended registrations expire")
