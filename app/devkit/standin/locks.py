"""Locks callers out after repeated failures."""

from collections import Counter
from datetime import datetime, timedelta
from threading import Lock


class Locks:
    """After `max_failures` failures in a row, a name is locked for `duration`, even with the right secret."""

    def __init__(self, max_failures: int, duration: timedelta) -> None:
        self._max_failures = max_failures
        self._duration = duration
        self._lock = Lock()
        self._failures: Counter[str] = Counter()
        self._locked_until: dict[str, datetime] = {}

    def is_locked(self, name: str, now: datetime) -> bool:
        return name in self._locked_until and now < self._locked_until[name]

    def record_failure(self, name: str, now: datetime) -> None:
        with self._lock:
            self._failures[name] += 1
            if self._failures[name] >= self._max_failures:
                del self._failures[name]
                self._locked_until[name] = now + self._duration

    def record_success(self, name: str) -> None:
        with self._lock:
            del self._failures[name]

    def clear(self) -> None:
        with self._lock:
            self._failures.clear()
            self._locked_until.clear()
