"""Temporary credentials as the workers share them: when to renew them, and when not to call their issuer."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

LONG_AGO = datetime.min.replace(tzinfo=UTC)
# An issuer is called at most once in this time: CPH refuses even a new token if it is for another region.
MIN_RENEWAL_INTERVAL = timedelta(seconds=5)

Proof = TypeVar("Proof")


@dataclass(frozen=True, slots=True)
class IssuedCredential(Generic[Proof]):
    proof: Proof = field(repr=False)
    issued_at: datetime
    expires_at: datetime

    @property
    def renew_at(self) -> datetime:
        """Renewal starts in the last tenth of the lifetime: with IAM's 24 h, IAM may be down for over two hours."""
        return self.expires_at - (self.expires_at - self.issued_at) / 10


@dataclass(frozen=True, slots=True)
class CachedCredential(Generic[Proof]):
    """A credential, or why there is none. The field names are stored in Redis.

    quiet_until: the issuer is not called before it. failure: why, for logs. refused: an operator must act.
    unreachable: the issuer sent no response.
    """

    grant: IssuedCredential[Proof] | None = None
    quiet_until: datetime = LONG_AGO
    failure: str = ""
    refused: bool = False
    unreachable: bool = False

    def up_to_date(self, now: datetime) -> bool:
        """Returns whether there is no reason to call the issuer, or it must not be called yet."""
        return now < self.quiet_until or (self.grant is not None and now < self.grant.renew_at)

    def usable(self, now: datetime) -> IssuedCredential[Proof] | None:
        return self.grant if self.grant is not None and now < self.grant.expires_at else None

    def without_refused(self, is_refused: Callable[[Proof], bool]) -> "CachedCredential[Proof]":
        """Drops the credential if it is the refused one; keeps one that was issued since."""
        if self.grant is None or not is_refused(self.grant.proof):
            return self
        quiet_until = max(self.quiet_until, self.grant.issued_at + MIN_RENEWAL_INTERVAL)
        if self.failure:
            return replace(self, grant=None, quiet_until=quiet_until)
        return CachedCredential(None, quiet_until, "CPH refuses newly issued credentials", refused=True)

    def time_to_live(self, now: datetime) -> timedelta:
        """Returns how long to keep this record."""
        return max(self.quiet_until, self.grant.expires_at if self.grant else LONG_AGO) - now


def load(dumped: bytes | None, adapter: TypeAdapter[CachedCredential[Proof]]) -> CachedCredential[Proof]:
    """Returns an empty record if there is no dump, or if another version or kind of credentials wrote it."""
    try:
        return adapter.validate_json(dumped or b"{}")
    except ValidationError:
        return CachedCredential()
