"""IAM's token as the workers share it: when to renew it, when to leave IAM alone."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter, ValidationError

LONG_AGO = datetime.min.replace(tzinfo=UTC)
# CPH refuses even a new token if it is for another region. So IAM is asked for at most one token in this time.
SETTLING = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Token:
    value: str = field(repr=False)
    issued_at: datetime
    expires_at: datetime

    @property
    def renew_at(self) -> datetime:
        """The last tenth of its life is for renewing: of IAM's 24 h, more than two hours in which IAM may be away."""
        return self.expires_at - (self.expires_at - self.issued_at) / 10


@dataclass(frozen=True, slots=True)
class Held:
    """A token, if there is one; after a failure also how long to leave IAM alone, and why."""

    token: Token | None = None
    quiet_until: datetime = LONG_AGO
    failure: str = ""

    def settled(self, now: datetime) -> bool:
        """There is nothing to ask of IAM."""
        return now < self.quiet_until or (self.token is not None and now < self.token.renew_at)

    def usable(self, now: datetime) -> Token | None:
        return self.token if self.token is not None and now < self.token.expires_at else None

    def without(self, refused: str | None) -> "Held":
        """Drops the token that was refused; another one, got since, stays."""
        if self.token is None or self.token.value != refused:
            return self
        quiet_until = max(self.quiet_until, self.token.issued_at + SETTLING)
        return Held(None, quiet_until, self.failure or "CPH refuses the token that IAM has just given")

    def life(self, now: datetime) -> timedelta:
        """After this it says nothing any more."""
        return max(self.quiet_until, self.token.expires_at if self.token else LONG_AGO) - now


_HELD = TypeAdapter(Held)


def dump(held: Held) -> bytes:
    return _HELD.dump_json(held)


def load(dumped: bytes | None) -> Held:
    """Nothing held, if nothing was dumped or another version did it in a shape of its own."""
    try:
        return _HELD.validate_json(dumped or b"{}")
    except ValidationError:
        return Held()
