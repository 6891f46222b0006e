"""How a CPH project fares, and what to do about it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

# The gateway refuses signatures from a quarter of an hour on.
WRONG_CLOCK = timedelta(minutes=1)
ENDS_SOON = timedelta(minutes=10)
CHECK_CREDENTIALS = "check the credentials, the project's id and the endpoint"
TRY_AT_ONCE = "SIGHUP to poll workers, or a changed secret file, has it tried at once"


class ProjectState(StrEnum):
    OK = "ok"
    WAITING = "waiting"  # not asked yet, or CPH does not answer: it heals by itself
    REFUSED = "refused"  # an operator must act


@dataclass(frozen=True, slots=True)
class ProjectHealth:
    """As poll workers saw it. refused_since: until CPH answers again. clock_ahead: how much later it is by CPH's clock
    than by ours."""

    answered_at: datetime | None = None
    failed_at: datetime | None = None
    failure: str | None = None
    refused_since: datetime | None = None
    credentials_expire_at: datetime | None = None
    clock_ahead: timedelta | None = None

    @property
    def state(self) -> ProjectState:
        """The latest counts, but a refusal stands until a call that was made after it is answered."""
        if self.refused_since:
            return ProjectState.REFUSED
        if self.failed_at and (not self.answered_at or self.failed_at > self.answered_at):
            return ProjectState.WAITING
        return ProjectState.OK if self.answered_at else ProjectState.WAITING

    def remedy(self, now: datetime) -> str | None:
        """What an operator should do; None for nothing."""
        if abs(self.clock_ahead or timedelta()) > WRONG_CLOCK:
            return "run NTP: CPH's clock and ours are apart"
        if self.state is ProjectState.REFUSED:
            return f"{CHECK_CREDENTIALS}; {TRY_AT_ONCE}"
        if self.credentials_expire_at and self.credentials_expire_at < now + ENDS_SOON:
            return "see why the credentials are not renewed: they end soon"
        return None
