"""Limits the requests that wait (long polls, streams): each of them occupies a thread."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock

from werkzeug.exceptions import ServiceUnavailable

RETRY_AFTER_S = 5
RESERVED_PART = 4  # one slot in four is reserved for tenants that hold none
# Below the timeout of a Redis call. A waiting request notices the end of its process after this time at most.
SLICE = timedelta(seconds=1)


class WaitSlots:
    """The slots of one process. stopping: returns True once the process is shutting down, when waiting must end."""

    def __init__(self, total: int, stopping: Callable[[], bool]) -> None:
        self._total = total
        self.stopping = stopping
        self._in_use: Counter[str] = Counter()
        self._lock = Lock()

    def acquire(self, tenant: str) -> Callable[[], None]:
        """Takes a slot and returns its release function, which is idempotent. ServiceUnavailable if none is free."""
        with self._lock:
            free = self._total - self._in_use.total()
            if free <= (self._total // RESERVED_PART if self._in_use[tenant] else 0):
                raise ServiceUnavailable("too many requests are waiting already", retry_after=RETRY_AFTER_S)
            self._in_use[tenant] += 1
        released: list[bool] = []

        def release() -> None:
            with self._lock:
                if not released:
                    released.append(True)
                    self._in_use[tenant] -= 1
                    self._in_use += Counter()  # drops tenants with no slot

        return release

    @contextmanager
    def one(self, tenant: str) -> Iterator[None]:
        release = self.acquire(tenant)
        try:
            yield
        finally:
            release()

    @contextmanager
    def slices(self, tenant: str, wait_s: int) -> Iterator[Iterator[timedelta]]:
        """Holds a slot and iterates over waiting times of at most SLICE, until wait_s is over or the process stops."""
        with self.one(tenant):
            yield self._slices(wait_s)

    def _slices(self, wait_s: int) -> Iterator[timedelta]:
        ends = time.monotonic() + wait_s
        while not self.stopping() and (left := ends - time.monotonic()) > 0:
            yield min(SLICE, timedelta(seconds=left))
