"""Quotas of a tenant: how much it may have, and how many requests it may make."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from app.domain.errors import CallerError

WINDOW = timedelta(minutes=1)


class Quota(StrEnum):
    REGISTRATIONS = "registrations"
    JOBS = "jobs"
    SAME_JOB = "registrations of one job"  # or of one request
    DESTINATIONS = "destinations"
    DELIVERIES = "deliveries"
    REQUESTS = "requests"


REMEDIES = {
    Quota.REGISTRATIONS: "wait until some registrations have ended, or cancel some",
    Quota.JOBS: "wait until some jobs have ended, or cancel registrations",
    Quota.SAME_JOB: "use the registrations that wait for this job, or request, already, or cancel some",
    Quota.DESTINATIONS: "use a host and port that callbacks already go to",
    Quota.DELIVERIES: "too many deliveries are pending: GET /v1/destinations shows which destinations do not answer",
    Quota.REQUESTS: "wait for as long as Retry-After says",
}


class QuotaReached(CallerError):
    """The tenant has reached a quota."""

    def __init__(self, quota: str) -> None:
        self.quota = Quota(quota)
        super().__init__(f"the quota of {self.quota} is reached")

    @property
    def remedy(self) -> str:
        return REMEDIES[self.quota]


@dataclass(frozen=True, slots=True)
class Quotas:
    """The maxima of a tenant; 0 is unlimited.

    registrations: in state watching. jobs: of these, that have not ended. destinations: with a recent registration.
    deliveries: pending ones. requests: per minute.
    """

    registrations: int = 0
    jobs: int = 0
    destinations: int = 0
    deliveries: int = 0
    requests: int = 0

    @property
    def for_registration(self) -> tuple[int, int, int, int]:
        """The quotas that a new registration counts against, in this order."""
        return self.registrations, self.jobs, self.destinations, self.deliveries


@dataclass(frozen=True, slots=True)
class Allowance:
    """The requests left in this minute. resets_in: whole seconds until the next minute."""

    quota: int
    left: int
    resets_in: int
