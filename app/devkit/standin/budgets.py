"""How often may be called: token buckets, none unless one is ordered."""

from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from pydantic import BaseModel, ConfigDict, Field

from app.devkit.standin.calls import CPH, ApiName

UNITS = {86_400: "day", 3_600: "hour", 60: "minute", 1: "second"}


class RequestBudget(BaseModel):
    """So many `calls` in `per_s` seconds, all at once if need be. api: of this alone; null: of CPH's together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calls: int = Field(ge=1)
    per_s: int = Field(ge=1)
    api: ApiName | None = None

    def __str__(self) -> str:
        """As the gateway words it."""
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
        earned = (now - self.at).total_seconds() * self.budget.calls / self.budget.per_s
        self.left = min(self.budget.calls, self.left + earned)
        self.at = now


class Budgets:
    """One for each `api` that was named, and one for all of CPH."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._buckets: dict[ApiName | None, Bucket] = {}

    def set(self, budget: RequestBudget, now: datetime) -> None:
        """Full, in place of the one before."""
        with self._lock:
            self._buckets[budget.api] = Bucket(budget, budget.calls, now)

    def clear(self) -> None:
        with self._lock:
            self._buckets.clear()

    def spend(self, api: ApiName, now: datetime) -> RequestBudget | None:
        """The budget that has nothing left, if there is one; it then costs nothing."""
        with self._lock:
            concerned = [bucket for bucket in self._buckets.values() if bucket.budget.concerns(api)]
            for bucket in concerned:
                bucket.fill(now)
                if bucket.left < 1:
                    return bucket.budget
            for bucket in concerned:
                bucket.left -= 1
        return None
