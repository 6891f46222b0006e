"""The life of a delivery: what follows an attempt. The only place with retry rules."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.verdict import Verdict

SPREAD = 0.1  # a wait is up to this share longer, never shorter
REFUSED_TRIES = 3


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    HELD = "held"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Schedule:
    """waits: before the 2nd, 3rd, … attempt. There is one attempt more than there are waits."""

    waits: tuple[timedelta, ...]

    @property
    def attempts(self) -> int:
        return len(self.waits) + 1

    @property
    def life(self) -> timedelta:
        """How long a delivery lives at most, every wait at its longest."""
        return sum(self.waits, timedelta()) * (1 + SPREAD)


@dataclass(frozen=True, slots=True)
class Next:
    state: DeliveryState
    due: datetime | None = None


def after(
    attempt: int,
    verdict: Verdict,
    *,
    schedule: Schedule,
    created: datetime,
    now: datetime,
    spread: float,
    retry_after: timedelta | None = None,
) -> Next:
    """What follows attempt number `attempt` (from 1); `spread` in 0..1 says how much of the lateness to use."""
    if verdict is Verdict.DELIVERED:
        return Next(DeliveryState.DELIVERED)
    last = attempt >= schedule.attempts
    if verdict is Verdict.GONE or last or (verdict is Verdict.REFUSED and attempt >= REFUSED_TRIES):
        return Next(DeliveryState.DEAD)
    wait = schedule.waits[attempt - 1] * (1 + SPREAD * spread)
    life_left = created + schedule.life - now
    floor = min(retry_after or timedelta(), life_left)
    return Next(DeliveryState.PENDING, now + max(wait, floor))
