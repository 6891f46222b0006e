"""What an attempt's answer means."""

from enum import StrEnum


class Verdict(StrEnum):
    DELIVERED = "delivered"
    RETRY = "retry"  # may heal: by the schedule
    GONE = "gone"  # 410: the subscriber said never again
    REFUSED = "refused"  # a person must act: a few tries, then dead


def by_status(status_code: int) -> Verdict:
    """CONTRACT.md, "How an attempt ends"; formats whose services say no with a 200 look further."""
    if 200 <= status_code < 300:
        return Verdict.DELIVERED
    if status_code == 410:
        return Verdict.GONE
    if status_code in (408, 425, 429) or status_code >= 500:
        return Verdict.RETRY
    return Verdict.REFUSED
