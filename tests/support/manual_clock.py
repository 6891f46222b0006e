"""A clock that tests set."""

from datetime import datetime


class ManualClock:
    """Stands still until `now` is set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def world_time(self) -> datetime:
        return self.now

    def to_sign(self, now: datetime) -> datetime:
        return now
