"""How many requests a tenant makes in a minute. Redis counts; each process takes some of the minute's at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from app.domain.quota import WINDOW, Allowance
from app.store.engine.scripts import ScriptCall, Scripts

AT_A_TIME = 100  # this part of a quota is taken at once: one round trip for many requests, and little lies idle
MOST_TENANTS = 10_000
WINDOW_S = int(WINDOW.total_seconds())


@dataclass(slots=True)
class _Taken:
    """Of a tenant in a window. total: what all processes have taken by then. spent: nothing more is to be had."""

    window: int
    left: int = 0
    total: int = 0
    spent: bool = False


class RequestQuota:
    """For use by many threads."""

    def __init__(self, scripts: Scripts, clock: Callable[[], datetime]) -> None:
        self._scripts = scripts
        self._clock = clock
        self._lock = Lock()
        self._taken: dict[str, _Taken] = {}

    def spend(self, tenant: str, quota: int) -> tuple[bool, Allowance]:
        """Whether one more request may be made, and what is left. quota: above zero."""
        window, passed = divmod(int(self._clock().timestamp()), WINDOW_S)
        resets_in = WINDOW_S - passed
        while True:
            with self._lock:
                taken = self._of(tenant, window)
                if taken.left:
                    taken.left -= 1
                    return True, Allowance(quota, max(0, quota - taken.total) + taken.left, resets_in)
                if taken.spent:
                    return False, Allowance(quota, 0, resets_in)
            self._fetch(tenant, window, quota)

    def _fetch(self, tenant: str, window: int, quota: int) -> None:
        wanted = max(1, quota // AT_A_TIME)
        granted, total = self._scripts.run(
            ScriptCall("take_requests", tenant=tenant, window=window, wanted=wanted, quota=quota)
        )
        with self._lock:
            taken = self._of(tenant, window)
            taken.left += granted
            taken.total = total
            taken.spent = not granted

    def _of(self, tenant: str, window: int) -> _Taken:
        taken = self._taken.get(tenant)
        if taken is None or taken.window != window:
            if len(self._taken) >= MOST_TENANTS:
                self._taken.clear()
            taken = self._taken[tenant] = _Taken(window)
        return taken
