"""Rate limits: token buckets, none by default."""

from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from pydantic import BaseModel, ConfigDict, Field

from app.devkit.standin.calls import CPH, ApiName

UNITS = {86_400: "day", 3_600: "hour", 60: "minute", 1: "second"}


class RequestBudget(BaseModel):
    """Allows `calls` in `per_s` seconds, as one burst too. api: limits only this API; null: all CPH APIs together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calls: int = Field(ge=1)
    per_s: int = Field(ge=1)
    api: ApiName | None = None

    def __str__(self) -> str:
        """Formats the limit as the gateway's error message does."""
        unit = next(unit for unit in UNITS if self.per_s % unit == 0)
        return f"limit:{self.calls},time:{self.per_s // unit} {UNITS[unit]}"

    def concerns(self, api: ApiName) -> bool:
        return api == self.api if self.api else api in CPH


@dataclass(slots=True)
class Bucket:
    budget: RequestBudget
    left: float
    at: datetime

    def fill(self, now: datetime) -> None:
        refill = (now - self.at).total_seconds() * self.budget.calls / self.budget.per_s
        self.left = min(self.budget.calls, self.left + refill)
        self.at = now


class Budgets:
    """Has at most one bucket per `api`, and one for all CPH APIs."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._buckets: dict[ApiName | None, Bucket] = {}

    def set(self, budget: RequestBudget, now: datetime) -> None:
        """Replaces the bucket of that API with a full one."""
        with self._lock:
            self._buckets[budget.api] = Bucket(budget, budget.calls, now)

    def clear(self) -> None:
        with self._lock:
            self._buckets.clear()

    def spend(self, api: ApiName, now: datetime) -> RequestBudget | None:
        """Takes one call from each bucket that applies. If one is empty, takes none and returns its budget."""
        with self._lock:
            concerned = [bucket for bucket in self._buckets.values() if bucket.budget.concerns(api)]
            for bucket in concerned:
                bucket.fill(now)
                if bucket.left < 1:
                    return bucket.budget
            for bucket in concerned:
                bucket.left -= 1
        return None
