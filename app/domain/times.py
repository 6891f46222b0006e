"""Conversion of times to and from their wire formats."""

from datetime import UTC, datetime


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
