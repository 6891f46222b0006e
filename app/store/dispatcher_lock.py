"""What the dispatchers share: the marks that say "look now", and the lock that lets one of them look."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from redis.exceptions import LockError, LockNotOwnedError

from app.domain.times import to_ms
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts

LOCK_LIFE = timedelta(seconds=3)


class DispatcherLock:
    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = redis = scripts.redis
        self._lock = redis.lock(
            keys.lock("dispatcher"), timeout=LOCK_LIFE.total_seconds(), blocking=False, thread_local=False
        )

    def acquire(self) -> bool:
        """Takes the lock, or holds on to it; it is lost when nobody has come back to it for LOCK_LIFE."""
        if self._lock.owned():
            with suppress(LockNotOwnedError):  # it ran out just now
                return bool(self._lock.reacquire())
        return bool(self._lock.acquire())

    def release(self) -> None:
        """Hands the lock on, so that the next one need not wait for it to run out."""
        with suppress(LockError):  # there is none to hand on
            self._lock.release()

    def record_heartbeat(self, now: datetime, looks: int, overdue: int) -> None:
        """For metrics: so many looks, the last of them just now, and how many registrations they ended."""
        self._scripts.run(ScriptCall("record_heartbeat", now=to_ms(now), ticks=looks, overdue=overdue))

    def wait(self, agendas: Sequence[str], longest_s: float) -> None:
        """Until one of them is marked, or the time is up."""
        self._redis.blpop([keys.wake(agenda) for agenda in agendas], timeout=longest_s)
