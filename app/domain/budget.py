"""How many calls a lane may make, and what it costs that they are no more."""

from dataclasses import dataclass
from datetime import datetime, timedelta

LATE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Budget:
    """rate: calls a second, now; infinite calls_left if it is 0. learned_rate: from being throttled, while that holds.
    late: for how long the oldest that is due has waited."""

    rate: float
    learned_rate: float | None
    calls_left: float
    paused_until: datetime | None
    late: timedelta

    def remedy(self) -> str | None:
        """What an operator should do; None for nothing. While nothing may be asked, late says nothing of the budget."""
        if self.late < LATE or self.paused_until:
            return None
        late = f"polls are {self.late.total_seconds():.0f} s late"
        if self.calls_left > max(1, self.rate / 2):
            return f"{late} although calls are left: start more poll workers"
        if self.learned_rate:
            return f"{late} as CPH throttles: have its limit raised, or see who else calls"
        return f"{late}: raise BRIDGE_CPH_RATE or the project's rate, if CPH allows it"
