"""Retry-After: seconds or an HTTP date (RFC 9110, 10.2.3)."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

SECONDS = re.compile(r"([0-9]{1,9})(\.[0-9]*)?")


def retry_after(value: str | None, now: datetime | None = None) -> timedelta | None:
    """Parses the header. None if it is missing or invalid; zero for a date in the past.

    Of a header that comes twice, which reads as a list, the longest wait counts. Fractions are rounded up.
    now: None if our clock and the server's may differ; then a date counts as invalid.
    """
    if value is None:
        return None
    matches = (SECONDS.fullmatch(part.strip()) for part in value.split(","))
    if waits := [int(match[1]) + bool(match[2]) for match in matches if match]:
        return timedelta(seconds=max(waits))
    return _until(value.strip(), now) if now else None


def _until(text: str, now: datetime) -> timedelta | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(aware - now, timedelta())
