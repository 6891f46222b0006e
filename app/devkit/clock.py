"""The time in the world outside the bridge."""

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """UTC that goes by the monotonic clock: setting the machine's clock anew ends no job and no token."""

    def __init__(self) -> None:
        wall = datetime.now(UTC)  # noqa: TID251 the outside world has a clock of its own
        self._origin = wall - timedelta(seconds=time.monotonic())

    def now(self) -> datetime:
        return self._origin + timedelta(seconds=time.monotonic())
