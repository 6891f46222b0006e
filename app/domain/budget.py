"""The rate limit budget of a poll lane, and whether it makes polls late."""

from dataclasses import dataclass
from datetime import datetime, timedelta

LATE_AFTER = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Budget:
    """rate: current calls per second; 0 is unlimited, with infinite calls_left. learned_rate: from CPH's throttling,
    while in force. late: how long the oldest due item has waited."""

    rate: float
    learned_rate: float | None
    calls_left: float
    paused_until: datetime | None
    late: timedelta

    def remedy(self) -> str | None:
        """Returns what an operator should do, None for nothing. Lateness during a pause is not the budget's fault."""
        if self.late < LATE_AFTER or self.paused_until:
            return None
        late = f"polls are {self.late.total_seconds():.0f} s late"
        if self.calls_left > max(1, self.rate / 2):
            return f"{late} although calls are left: start more poll workers"
        if self.learned_rate:
            return f"{late} because CPH throttles: have its limit raised, or find out who else calls it"
        return f"{late}: raise BRIDGE_CPH_RATE or the project's rate, if CPH allows it"
