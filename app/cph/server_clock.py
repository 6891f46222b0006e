"""Measures CPH's clock offset: signatures and tokens depend on it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from app.transport.client import Reply


class ServerClock:
    """ahead: CPH's clock minus ours, to the second as HTTP dates are; None until a reply has a valid Date header."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.ahead: timedelta | None = None

    def observe(self, reply: Reply) -> None:
        try:
            date = parsedate_to_datetime(reply.headers.get("date", ""))
        except (ValueError, OverflowError):
            return
        self.ahead = date.replace(tzinfo=UTC) - self._clock()  # HTTP dates are always in GMT
