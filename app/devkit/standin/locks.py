"""Shutting out who fails again and again."""

from collections import Counter
from datetime import datetime, timedelta
from threading import Lock


class Locks:
    """Who fails `at` times in a row is shut out for `life`, even with the right secret."""

    def __init__(self, at: int, life: timedelta) -> None:
        self._at = at
        self._life = life
        self._lock = Lock()
        self._failures: Counter[str] = Counter()
        self._until: dict[str, datetime] = {}

    def shuts_out(self, name: str, now: datetime) -> bool:
        return name in self._until and now < self._until[name]

    def failed(self, name: str, now: datetime) -> None:
        with self._lock:
            self._failures[name] += 1
            if self._failures[name] >= self._at:
                del self._failures[name]
                self._until[name] = now + self._life

    def passed(self, name: str) -> None:
        with self._lock:
            del self._failures[name]

    def clear(self) -> None:
        with self._lock:
            self._failures.clear()
            self._until.clear()
