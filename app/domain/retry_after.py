"""Retry-After: seconds or an HTTP date (RFC 9110, 10.2.3)."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

SECONDS = re.compile(r"\+?([0-9]+)(\.[0-9]*)?")
MAX_SECONDS = 10**9


def retry_after(value: str | None, now: datetime | None = None) -> timedelta | None:
    """Parses the header. None if it is missing or invalid; zero for a date in the past.

    A header that comes twice is a list: the longest wait counts. Fractions are rounded up.
    now: None if our clock and the server's may differ; then a date counts as invalid.
    """
    if value is None:
        return None
    waits = [SECONDS.fullmatch(part.strip().strip('"')) for part in value.split(",")]
    if seconds := [_seconds(match) for match in waits if match]:
        return timedelta(seconds=max(seconds))
    return _until(value.strip(), now) if now else None


def _seconds(match: re.Match[str]) -> int:
    whole = match[1].lstrip("0")
    if len(whole) > len(str(MAX_SECONDS)):
        return MAX_SECONDS
    return min(int(whole or 0) + bool((match[2] or "").strip(".0")), MAX_SECONDS)


def _until(text: str, now: datetime) -> timedelta | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(aware - now, timedelta())
