"""The clock of the simulated outside world."""

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """UTC, advanced by the monotonic clock: changing the machine's clock ends no job and expires no token."""

    def __init__(self) -> None:
        wall = datetime.now(UTC)  # noqa: TID251 the outside world has its own clock
        self._origin = wall - timedelta(seconds=time.monotonic())

    def now(self) -> datetime:
        return self._origin + timedelta(seconds=time.monotonic())
