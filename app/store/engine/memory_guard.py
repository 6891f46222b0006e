"""Whether Redis has room left: looked up now and then."""

from collections.abc import Callable

from app.domain.errors import NearlyFull
from app.store.engine.client import Client

FULL = 0.8  # of maxmemory; what is left is for what has been taken already
LOOK_EVERY_S = 2.0


class MemoryGuard:
    """For use by many threads; two of them may look at once, which is no harm. monotonic: seconds."""

    def __init__(self, redis: Client, monotonic: Callable[[], float]) -> None:
        self._redis = redis
        self._monotonic = monotonic
        self._look_at = float("-inf")
        self._full = False

    def check(self) -> None:
        """Raises NearlyFull while nothing more should be taken."""
        if self._monotonic() >= self._look_at:
            memory = self._redis.info("memory")
            limit = int(memory.get("maxmemory", 0))
            self._full = limit > 0 and int(memory["used_memory"]) >= FULL * limit
            self._look_at = self._monotonic() + LOOK_EVERY_S
        if self._full:
            raise NearlyFull("Redis is nearly full: raise its maxmemory, or wait until what has ended is forgotten")
