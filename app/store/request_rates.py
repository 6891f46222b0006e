"""Rate limit of API requests per tenant and minute. Redis counts; each process takes requests in batches."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from app.domain.quota import WINDOW, Allowance
from app.store.engine.scripts import ScriptCall, Scripts

BATCHES = 100  # a batch is this fraction of a quota: one round trip for many requests, and few unused ones
MAX_TENANTS = 10_000
WINDOW_S = int(WINDOW.total_seconds())


@dataclass(slots=True)
class _Batch:
    """A tenant's requests in a window. left: taken by this process and unused. total: taken by all processes, as of the
    last call. exhausted: the quota is used up."""

    window: int
    left: int = 0
    total: int = 0
    exhausted: bool = False


class RequestQuota:
    """Thread-safe."""

    def __init__(self, scripts: Scripts, clock: Callable[[], datetime]) -> None:
        self._scripts = scripts
        self._clock = clock
        self._lock = Lock()
        self._batches: dict[str, _Batch] = {}

    def spend(self, tenant: str, quota: int) -> tuple[bool, Allowance]:
        """Returns whether one more request is allowed, and what is left. quota: requests per minute, above zero."""
        window, passed = divmod(int(self._clock().timestamp()), WINDOW_S)
        resets_in = WINDOW_S - passed
        while True:
            with self._lock:
                batch = self._batch(tenant, window)
                if batch.left:
                    batch.left -= 1
                    return True, Allowance(quota, max(0, quota - batch.total) + batch.left, resets_in)
                if batch.exhausted:
                    return False, Allowance(quota, 0, resets_in)
            self._fetch(tenant, window, quota)

    def _fetch(self, tenant: str, window: int, quota: int) -> None:
        wanted = max(1, quota // BATCHES)
        granted, total = self._scripts.run(
            ScriptCall("take_requests", tenant=tenant, window=window, wanted=wanted, quota=quota)
        )
        with self._lock:
            batch = self._batch(tenant, window)
            batch.left += granted
            batch.total = total
            batch.exhausted = not granted

    def _batch(self, tenant: str, window: int) -> _Batch:
        batch = self._batches.get(tenant)
        if batch is None or batch.window != window:
            if len(self._batches) >= MAX_TENANTS:
                self._batches.clear()
            batch = self._batches[tenant] = _Batch(window)
        return batch
