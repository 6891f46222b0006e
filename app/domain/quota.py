"""How much a tenant may have, and how often it may ask."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from app.domain.errors import CallerError

WINDOW = timedelta(minutes=1)


class Quota(StrEnum):
    REGISTRATIONS = "registrations"
    DESTINATIONS = "destinations"
    DELIVERIES = "deliveries"
    REQUESTS = "requests"


REMEDIES = {
    Quota.REGISTRATIONS: "so many are being watched already: wait until some have ended, or cancel some",
    Quota.DESTINATIONS: "callbacks go to so many hosts and ports already: use one of them",
    Quota.DELIVERIES: "so many are waiting to be sent: see GET /v1/destinations for what does not answer",
    Quota.REQUESTS: "wait for as long as Retry-After says",
}


class QuotaReached(CallerError):
    """The tenant has as much as it may have."""

    def __init__(self, quota: str) -> None:
        self.quota = Quota(quota)
        super().__init__(f"the quota of {self.quota} is reached")

    @property
    def remedy(self) -> str:
        return REMEDIES[self.quota]


@dataclass(frozen=True, slots=True)
class Quotas:
    """The most of each that a tenant may have; 0 is unbounded.

    registrations: that are watching. destinations: that it has registered for lately. deliveries: that are pending.
    requests: in a minute.
    """

    registrations: int = 0
    destinations: int = 0
    deliveries: int = 0
    requests: int = 0

    @property
    def of_registrations(self) -> tuple[int, int, int]:
        """Those that a registration counts against, in this order."""
        return self.registrations, self.destinations, self.deliveries


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of the requests of this minute. resets_in: whole seconds until the next one."""

    quota: int
    left: int
    resets_in: int
