"""Timings of a call's phases."""

from dataclasses import dataclass, field, fields
from datetime import timedelta
from time import monotonic
from typing import Any

MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Timings:
    """None: the call did not reach this phase, or used a kept-alive connection.

    first_byte: from the established connection, so it includes sending.
    """

    total: timedelta
    lookup: timedelta | None = None
    connect: timedelta | None = None
    tls: timedelta | None = None
    first_byte: timedelta | None = None

    def in_ms(self) -> dict[str, Any]:
        """Returns the timings for logs: `{"total_ms": 12.3, …}`, without those that are None."""
        times = [(name, getattr(self, phase)) for name, phase in NAMES_IN_MS]
        return {name: round(time / MILLISECOND, 1) for name, time in times if time is not None}


NAMES_IN_MS = tuple((f"{field.name}_ms", field.name) for field in fields(Timings))


@dataclass(slots=True)
class Stopwatch:
    """When a call reached each phase, in seconds of the monotonic clock."""

    began: float = field(default_factory=monotonic)
    opening: float | None = None
    looked_up: float | None = None
    connected: float | None = None
    secured: float | None = None
    sent: float | None = None
    first_byte: float | None = None

    def open(self) -> None:
        """Records that a connection is being opened, and resets a previous one."""
        self.opening = monotonic()
        self.looked_up = self.connected = self.secured = None

    def timings(self) -> Timings:
        return Timings(
            total=timedelta(seconds=monotonic() - self.began),
            lookup=_between(self.opening, self.looked_up),
            connect=_between(self.looked_up, self.connected),
            tls=_between(self.connected, self.secured),
            first_byte=_between(self.secured or self.connected or self.began, self.first_byte),
        )


def _between(begin: float | None, end: float | None) -> timedelta | None:
    return None if begin is None or end is None else timedelta(seconds=end - begin)
