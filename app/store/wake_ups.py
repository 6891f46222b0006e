"""What the dispatchers share: the marks that say "look now", and the lock that lets one of them look."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from redis.exceptions import LockError, LockNotOwnedError

from app.store import keys
from app.store.connection import Client

LOCK_LIFE = timedelta(seconds=3)


class WakeUps:
    def __init__(self, redis: Client) -> None:
        self._redis = redis
        self._lock = redis.lock(
            keys.lock("dispatcher"), timeout=LOCK_LIFE.total_seconds(), blocking=False, thread_local=False
        )

    def lead(self) -> bool:
        """Takes the lock, or holds on to it; it is lost when nobody has come back to it for LOCK_LIFE."""
        if self._lock.owned():
            with suppress(LockNotOwnedError):  # it ran out just now
                return bool(self._lock.reacquire())
        return bool(self._lock.acquire())

    def resign(self) -> None:
        """Hands the lock on, so that the next one need not wait for it to run out."""
        with suppress(LockError):  # there is none to hand on
            self._lock.release()

    def wait(self, agendas: Sequence[str], longest_s: float) -> None:
        """Until one of them is marked, or the time is up."""
        self._redis.blpop([keys.wake(agenda) for agenda in agendas], timeout=longest_s)
