"""How far CPH's clock is from ours: signatures and tokens depend on it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from app.transport.client import Reply


class ServerClock:
    """To the second, as HTTP's dates are. ahead: None as long as no answer had a date."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.ahead: timedelta | None = None

    def see(self, reply: Reply) -> None:
        try:
            date = parsedate_to_datetime(reply.headers.get("date", ""))
        except (ValueError, OverflowError):
            return
        self.ahead = date.replace(tzinfo=UTC) - self._clock()  # HTTP knows no other zone
