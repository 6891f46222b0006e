"""What proves who we are for a while, as the workers share it: when to renew it, when to leave its issuer alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

LONG_AGO = datetime.min.replace(tzinfo=UTC)
# CPH refuses even a new token if it is for another region. So an issuer is asked at most once in this time.
SETTLING = timedelta(seconds=5)

Proof = TypeVar("Proof")


@dataclass(frozen=True, slots=True)
class IssuedCredential(Generic[Proof]):
    proof: Proof = field(repr=False)
    issued_at: datetime
    expires_at: datetime

    @property
    def renew_at(self) -> datetime:
        """The last tenth of its life is for renewing: of IAM's 24 h, more than two hours in which IAM may be away."""
        return self.expires_at - (self.expires_at - self.issued_at) / 10


@dataclass(frozen=True, slots=True)
class Held(Generic[Proof]):
    """A grant, if there is one; after a failure also how long to leave the issuer alone, and why.

    refused: an operator must act.
    """

    grant: IssuedCredential[Proof] | None = None
    quiet_until: datetime = LONG_AGO
    failure: str = ""
    refused: bool = False

    def settled(self, now: datetime) -> bool:
        """There is nothing to ask of the issuer."""
        return now < self.quiet_until or (self.grant is not None and now < self.grant.renew_at)

    def usable(self, now: datetime) -> IssuedCredential[Proof] | None:
        return self.grant if self.grant is not None and now < self.grant.expires_at else None

    def without(self, refused: Callable[[Proof], bool]) -> "Held[Proof]":
        """Drops the grant if it is the refused one; another one, got since, stays."""
        if self.grant is None or not refused(self.grant.proof):
            return self
        quiet_until = max(self.quiet_until, self.grant.issued_at + SETTLING)
        if self.failure:
            return Held(None, quiet_until, self.failure, self.refused)
        return Held(None, quiet_until, "CPH refuses credentials that have just been given", refused=True)

    def life(self, now: datetime) -> timedelta:
        """After this it says nothing any more."""
        return max(self.quiet_until, self.grant.expires_at if self.grant else LONG_AGO) - now


def load(dumped: bytes | None, held: TypeAdapter[Held[Proof]]) -> Held[Proof]:
    """Nothing held, if nothing was dumped or another version or another kind of credentials did it."""
    try:
        return held.validate_json(dumped or b"{}")
    except ValidationError:
        return Held()
