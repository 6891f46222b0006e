"""Retry-After: seconds or an HTTP date (RFC 9110, 10.2.3)."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

SECONDS = re.compile(r"[0-9]{1,9}")


def retry_after(value: str | None, now: datetime | None = None) -> timedelta | None:
    """Parses the header. None if it is missing or invalid; zero for a date in the past.

    now: None if our clock and the server's may differ; then a date counts as invalid.
    """
    if value is None:
        return None
    text = value.strip()
    if SECONDS.fullmatch(text):
        return timedelta(seconds=int(text))
    if now is None:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(aware - now, timedelta())
