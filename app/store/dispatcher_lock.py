"""What the dispatchers share: the wake-up lists, and the lock that lets one of them work."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from redis.exceptions import LockError, LockNotOwnedError

from app.domain.times import to_ms
from app.store.engine import keys
from app.store.engine.connection import WrongType
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
        """Takes or extends the lock, which expires LOCK_LIFE after the last call; True if this process has it."""
        if self._lock.owned():
            with suppress(LockNotOwnedError):  # it has just expired
                return bool(self._lock.reacquire())
        if self._lock.acquire():
            return True
        # Redis' clock may have leapt back since it was taken: its holder extends it, and nobody else waits for long.
        self._redis.pexpire(self._lock.name, LOCK_LIFE, lt=True)
        return False

    def release(self) -> None:
        """Releases the lock, so that the next dispatcher need not wait until it expires."""
        with suppress(LockError):  # this process does not have it
            self._lock.release()

    def record_heartbeat(self, now: datetime, ticks: int, overdue: int) -> None:
        """Adds to the metrics: ticks, the last of them now, and the registrations that they ended as overdue."""
        self._scripts.run(ScriptCall("record_heartbeat", now=to_ms(now), ticks=ticks, overdue=overdue))

    def wait(self, agendas: Sequence[str], longest_s: float) -> None:
        """Waits until one of the agendas is woken, at most `longest_s` seconds."""
        marks = [keys.wake(agenda) for agenda in agendas]
        try:
            self._redis.blpop(marks, timeout=longest_s)
        except WrongType:  # of any of them: each LLEN moves its own key aside
            for mark in marks:
                self._redis.llen(mark)
