"""Places for requests that wait: each holds a thread, and there are only so many."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock

from werkzeug.exceptions import ServiceUnavailable

RETRY_AFTER_S = 5
KEPT = 4  # this part of the places is for tenants that have none yet
SLICE = timedelta(seconds=1)  # less than an answer of Redis may take; so late, a process that ends is noticed


class WaitSlots:
    """Of one process. stopping: whether it ends: nobody should wait any longer then."""

    def __init__(self, total: int, stopping: Callable[[], bool]) -> None:
        self._total = total
        self.stopping = stopping
        self._taken: Counter[str] = Counter()
        self._lock = Lock()

    def take(self, tenant: str) -> Callable[[], None]:
        """What gives it back, as often as it is called. ServiceUnavailable if there is none."""
        with self._lock:
            free = self._total - self._taken.total()
            if free <= (self._total // KEPT if self._taken[tenant] else 0):
                raise ServiceUnavailable("too many requests are waiting already", retry_after=RETRY_AFTER_S)
            self._taken[tenant] += 1
        given_back: list[bool] = []

        def give_back() -> None:
            with self._lock:
                if not given_back:
                    given_back.append(True)
                    self._taken[tenant] -= 1
                    self._taken += Counter()  # without those that have none

        return give_back

    @contextmanager
    def one(self, tenant: str) -> Iterator[None]:
        give_back = self.take(tenant)
        try:
            yield
        finally:
            give_back()

    @contextmanager
    def slices(self, tenant: str, wait_s: int) -> Iterator[Iterator[timedelta]]:
        """How long to wait, again and again, until the time is up."""
        with self.one(tenant):
            yield self._slices(wait_s)

    def _slices(self, wait_s: int) -> Iterator[timedelta]:
        ends = time.monotonic() + wait_s
        while not self.stopping() and (left := ends - time.monotonic()) > 0:
            yield min(SLICE, timedelta(seconds=left))
