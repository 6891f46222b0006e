"""A destination: where callbacks go (scheme, host and port; in a chat service the bot), what attempts tell of it, and
how it fares."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from app.domain.breaker import pauses
from app.domain.verdict import Verdict

TOO_MANY_REQUESTS = 429
# One that answers now and then is worth every try; of one that is away, one pool of attempts is enough to tell.
OPENS_AFTER = 5
# A subscriber that restarts is back within seconds; at the end of an outage of hours nobody minds five minutes.
PAUSES = pauses(timedelta(seconds=5), timedelta(minutes=5))
# Longer than a long weekend, and than one delivery is tried for (two days).
DISABLED_AFTER = timedelta(days=5)
SLOW = 0.5  # of the deadline: whoever needs longer has too much to do, or will soon
LONGEST_PAUSE_OF_A_BOT = timedelta(hours=1)  # as long as people are told of anything at all
BOT_MARK = "#"  # in no origin
LANE_SEPARATOR = " "  # in no tenant and no destination
BOT_DIGITS = 12


def bot_at(origin: str, format_name: str, bot: str) -> str:
    """The destination of a chat message: `https://oapi.dingtalk.com:443#dingtalk-9f3a12bc44d0`.

    bot: what beside the origin tells it from others, often its credential; '' if that is the origin alone.
    """
    digest = f"-{sha256(bot.encode()).hexdigest()[:BOT_DIGITS]}" if bot else ""
    return f"{origin}{BOT_MARK}{format_name}{digest}"


def is_bot(destination: str) -> bool:
    return BOT_MARK in destination


def origin_of(destination: str) -> str:
    """Scheme, host and port."""
    return destination.partition(BOT_MARK)[0]


def format_of(destination: str) -> str | None:
    """Name of the chat format, None where machines are told."""
    return destination.partition(BOT_MARK)[2].partition("-")[0] or None


def lane_of(tenant: str, destination: str) -> str:
    """The lane on the agenda: a tenant's own, so that its pauses and failures are no other's."""
    return f"{tenant}{LANE_SEPARATOR}{destination}"


def split_lane(lane: str) -> tuple[str, str]:
    """Tenant and destination."""
    tenant, _, destination = lane.partition(LANE_SEPARATOR)
    return tenant, destination


def destination_id(lane: str) -> str:
    return "dst_" + sha256(lane.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class AttemptSignal:
    """What an attempt tells of its destination. overloaded: it had too much to do. pause: for which it asked."""

    answered: bool
    overloaded: bool = False
    pause: timedelta = timedelta()


def attempt_signal(
    verdict: Verdict,
    *,
    status_code: int | None,
    took: timedelta,
    deadline: timedelta,
    retry_after: timedelta | None,
    overloaded: bool = False,
    is_bot: bool = False,
) -> AttemptSignal | None:
    """None if it was never reached. Whoever refuses one URL, or is gone from it, may well be there for others.

    overloaded: the answer said so otherwise than by its status.
    """
    if verdict is Verdict.REFUSED and status_code is None:
        return None
    overloaded = overloaded or status_code == TOO_MANY_REQUESTS or took >= deadline * SLOW
    # What is asked for on behalf of one URL must not silence the others for days; a bot has no others.
    pause = min(retry_after or timedelta(), LONGEST_PAUSE_OF_A_BOT if is_bot else PAUSES[-1])
    return AttemptSignal(answered=verdict is not Verdict.RETRY, overloaded=overloaded, pause=pause)


class DestinationState(StrEnum):
    OK = "ok"
    FAILING = "failing"  # its breaker is not closed
    PAUSED = "paused"  # by its tenant
    DISABLED = "disabled"  # it has only failed for days


class Breaker(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"  # one probe at a time


@dataclass(frozen=True, slots=True)
class Destination:
    """held: `paused` or `disabled` while nothing is sent. deliveries: those that are not over. places: the most of
    them at once."""

    lane: str
    used_at: datetime
    on_hold: DestinationState | None = None
    on_hold_since: datetime | None = None
    failures: int = 0
    failing_since: datetime | None = None
    answered_at: datetime | None = None
    failed_at: datetime | None = None
    failure: str | None = None
    refused: bool = False
    not_before: datetime | None = None
    concurrency: int = 1
    deliveries: int = 0

    @property
    def id(self) -> str:
        return destination_id(self.lane)

    @property
    def address(self) -> str:
        return split_lane(self.lane)[1]

    @property
    def format(self) -> str | None:
        return format_of(self.address)

    @property
    def state(self) -> DestinationState:
        if self.on_hold:
            return self.on_hold
        return DestinationState.FAILING if self.refused else DestinationState.OK

    def breaker(self, now: datetime) -> Breaker:
        if not self.refused:
            return Breaker.CLOSED
        return Breaker.OPEN if self.next_try_at(now) else Breaker.HALF_OPEN

    def next_try_at(self, now: datetime) -> datetime | None:
        """None if it may be tried now, or is held."""
        return self.not_before if self.not_before and self.not_before > now and not self.on_hold else None
