"""Conversion of times to and from their wire formats."""

from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.foreign_json import exact_text, integer

# What must not expire early is kept for so much longer, because the clock by which it expires may leap by a day.
LEAP_MARGIN = timedelta(hours=25)
FIRST_SECOND = 10**9  # of 2001: what an issuer writes is later, in seconds or milliseconds


def from_ms(milliseconds: int) -> datetime:
    """Raises ValueError if no datetime can be so early or late."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(f"{milliseconds} ms is out of range") from error


def to_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def rfc3339(moment: datetime) -> str:
    """Formats as `2019-04-26T07:00:08Z`: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str | None) -> datetime | None:
    """Returns None for missing or invalid text: CPH's times serve display and cadence, and decide no outcome."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_expiry(value: Any) -> datetime | None:
    """Returns the moment that an issuer wrote as RFC 3339 or as seconds or milliseconds since 1970; None if neither."""
    if found := parse_rfc3339(exact_text(value)):
        return found
    number = integer(value)
    if number is None or number < FIRST_SECOND:
        return None
    try:
        return from_ms(number if number >= FIRST_SECOND * 1000 else number * 1000)
    except ValueError:
        return None
