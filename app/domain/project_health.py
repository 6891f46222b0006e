"""The health of a CPH project, and what an operator should do about it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

# The gateway rejects signatures from 15 minutes of clock skew on; warn long before.
MAX_CLOCK_SKEW = timedelta(minutes=1)
EXPIRES_SOON = timedelta(minutes=10)
UNREADABLE_FOR = timedelta(minutes=15)  # how long an operator is told of an unreadable answer
CHECK_CREDENTIALS = "check the credentials, the project's id and the endpoint"
TRY_AT_ONCE = "SIGHUP to poll workers, or a changed secret file, triggers a retry at once"


class ProjectState(StrEnum):
    OK = "ok"
    WAITING = "waiting"  # not polled yet, or CPH does not answer: recovers by itself
    REFUSED = "refused"  # an operator must act


@dataclass(frozen=True, slots=True)
class ProjectHealth:
    """What poll workers observed. refused_since: kept until CPH answers again. clock_ahead: CPH's clock minus ours.

    advice: what an operator should do about the last failure, if known. unreadable_at: of the last answer that could
    not be read, or only in part. unreadable: the reason.
    """

    answered_at: datetime | None = None
    failed_at: datetime | None = None
    failure: str | None = None
    refused_since: datetime | None = None
    credentials_expire_at: datetime | None = None
    clock_ahead: timedelta | None = None
    unreadable_at: datetime | None = None
    unreadable: str | None = None
    advice: str | None = None

    @property
    def state(self) -> ProjectState:
        """The latest result counts, but a refusal lasts until CPH answers a call that was made after it."""
        if self.refused_since:
            return ProjectState.REFUSED
        if self.failed_at and (not self.answered_at or self.failed_at > self.answered_at):
            return ProjectState.WAITING
        return ProjectState.OK if self.answered_at else ProjectState.WAITING

    def remedy(self, now: datetime) -> str | None:
        """Returns what an operator should do, None for nothing. now: as CPH has it, RedisClock.world_time."""
        if abs(self.clock_ahead or timedelta()) > MAX_CLOCK_SKEW:
            return "run NTP: CPH's clock and ours differ by more than a minute"
        if self.state is ProjectState.REFUSED:
            return f"{self.advice or CHECK_CREDENTIALS}; {TRY_AT_ONCE}"
        if unreadable := self.unreadable_remedy(now):
            return unreadable
        if self.credentials_expire_at and self.credentials_expire_at < now + EXPIRES_SOON:
            return "find out why the credentials are not renewed: they expire soon"
        return None

    def unreadable_remedy(self, now: datetime) -> str | None:
        if self.unreadable_at is None or self.unreadable_at + UNREADABLE_FOR < now:
            return None
        return (
            f"CPH's answers cannot be read ({self.unreadable}): check the endpoint and the proxies on the way;"
            " the log has each as cph.unreadable, and the ends of these jobs may come late"
        )
