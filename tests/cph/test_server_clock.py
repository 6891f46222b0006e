"""The offset of CPH's clock from ours."""

from datetime import UTC, datetime, timedelta

import pytest

from app.cph.server_clock import ServerClock
from app.transport.client import Reply


@pytest.mark.parametrize(
    ("date", "ahead"),
    [
        ("Thu, 01 Jan 2026 00:00:00 GMT", timedelta()),
        ("Thu, 01 Jan 2026 00:20:00 GMT", timedelta(minutes=20)),
        ("Wed, 31 Dec 2025 23:59:00 -0000", timedelta(minutes=-1)),
        ("yesterday", None),
        ("Thu, 01 Jan 99999999999 00:00:00 GMT", None),
        ("Thu, 01 Jan 2026 00:00:00 +99999999999999999999", None),
        (None, None),
    ],
)
def test_it_is_read_from_the_date_of_an_answer(date: str | None, ahead: timedelta | None) -> None:
    clock = ServerClock(lambda: datetime(2026, 1, 1, tzinfo=UTC))
    clock.observe(Reply(200, {"date": date} if date else {}, b"", truncated=False))
    assert clock.ahead == ahead
