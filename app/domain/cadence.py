"""When to ask CPH about a job again."""

from dataclasses import dataclass
from datetime import timedelta

SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Cadence:
    """Soon at first, later less often: a tenth of the job's age, within bounds.

    So the end of a job is seen late by at most a tenth of its own duration (or by `floor`, for short ones),
    and watching one for an hour costs tens of calls, not thousands.
    """

    floor: timedelta
    ceiling: timedelta

    def wait(self, age: timedelta) -> timedelta:
        """How long to wait before asking again about a job of this age; never below `floor`, never above `ceiling`."""
        return max(self.floor, min(age * SHARE, self.ceiling))
