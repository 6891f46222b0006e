"""Verdicts: what the answer to an attempt means."""

from enum import StrEnum


class Verdict(StrEnum):
    DELIVERED = "delivered"
    RETRY = "retry"  # may recover: retried by the schedule
    GONE = "gone"  # 410: the subscriber wants no more calls
    REFUSED = "refused"  # a person must act: a few tries, then dead


def by_status(status_code: int) -> Verdict:
    """Implements docs/contract.md, "How an attempt ends". Formats whose services reject with 200 read the body."""
    if 200 <= status_code < 300:
        return Verdict.DELIVERED
    if status_code == 410:
        return Verdict.GONE
    if status_code in (408, 425, 429, 499) or status_code >= 500:
        return Verdict.RETRY
    return Verdict.REFUSED
