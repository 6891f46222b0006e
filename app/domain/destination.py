"""A destination (scheme, host and port; in a chat service the bot), its health, and what an attempt says about it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from app.domain.breaker import pauses
from app.domain.verdict import Verdict

TOO_MANY_REQUESTS = 429
# A destination that answers now and then is worth every attempt. Five failures in a row show that it is unavailable.
OPENS_AFTER = 5
# A restarting subscriber is back within seconds. After an outage of hours, five more minutes do not matter.
PAUSES = pauses(timedelta(seconds=5), timedelta(minutes=5))
# Longer than a long weekend, and longer than one delivery is retried (two days).
DISABLED_AFTER = timedelta(days=5)
SLOW_SHARE = 0.5  # of the deadline: a destination that takes longer is overloaded, or soon will be
MAX_BOT_PAUSE = timedelta(hours=1)  # chat messages are not retried for longer
BOT_MARK = "#"  # occurs in no origin
LANE_SEPARATOR = " "  # occurs in no tenant and no destination
BOT_DIGITS = 12


def bot_at(origin: str, format_name: str, bot: str) -> str:
    """Returns the destination of a chat message: `https://oapi.dingtalk.com:443#dingtalk-9f3a12bc44d0`.

    bot: what identifies the bot within its origin, often its credential; '' if the origin alone does.
    """
    digest = f"-{sha256(bot.encode()).hexdigest()[:BOT_DIGITS]}" if bot else ""
    return f"{origin}{BOT_MARK}{format_name}{digest}"


def is_bot(destination: str) -> bool:
    return BOT_MARK in destination


def origin_of(destination: str) -> str:
    """Returns scheme, host and port."""
    return destination.partition(BOT_MARK)[0]


def format_of(destination: str) -> str | None:
    """Returns the name of the chat format, None if the destination is no chat bot."""
    return destination.partition(BOT_MARK)[2].partition("-")[0] or None


def lane_of(tenant: str, destination: str) -> str:
    """Returns the lane on the agenda. Each tenant has its own, so its pauses and failures affect no other tenant."""
    return f"{tenant}{LANE_SEPARATOR}{destination}"


def split_lane(lane: str) -> tuple[str, str]:
    """Returns tenant and destination."""
    tenant, _, destination = lane.partition(LANE_SEPARATOR)
    return tenant, destination


def destination_id(lane: str) -> str:
    return "dst_" + sha256(lane.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class AttemptSignal:
    """What an attempt shows about its destination. pause: requested by the destination."""

    available: bool
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
    """Returns None if the destination was never reached. A refusal or a 410 counts as an answer: other URLs may work.

    overloaded: the answer reports overload by other means than its status.
    """
    if verdict is Verdict.REFUSED and status_code is None:
        return None
    overloaded = overloaded or status_code == TOO_MANY_REQUESTS or took >= deadline * SLOW_SHARE
    # Retry-After for one URL must not pause all others for days. A bot has only one URL.
    pause = min(retry_after or timedelta(), MAX_BOT_PAUSE if is_bot else PAUSES[-1])
    return AttemptSignal(available=verdict is not Verdict.RETRY, overloaded=overloaded, pause=pause)


class DestinationState(StrEnum):
    OK = "ok"
    FAILING = "failing"  # its breaker is open or half open
    PAUSED = "paused"  # by its tenant
    DISABLED = "disabled"  # by the bridge: every attempt failed for days


class Breaker(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"  # one probe at a time


@dataclass(frozen=True, slots=True)
class Destination:
    """on_hold: `paused` or `disabled` while nothing is sent. tripped: the breaker is not closed. concurrency: the most
    attempts at once. deliveries: those on its agenda."""

    lane: str
    used_at: datetime
    on_hold: DestinationState | None = None
    on_hold_since: datetime | None = None
    failures: int = 0
    failing_since: datetime | None = None
    answered_at: datetime | None = None
    failed_at: datetime | None = None
    failure: str | None = None
    tripped: bool = False
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
        return DestinationState.FAILING if self.tripped else DestinationState.OK

    def breaker(self, now: datetime) -> Breaker:
        if not self.tripped:
            return Breaker.CLOSED
        return Breaker.OPEN if self.next_try_at(now) else Breaker.HALF_OPEN

    def next_try_at(self, now: datetime) -> datetime | None:
        """Returns the end of the breaker's pause. None if an attempt may start now, or the destination is on hold."""
        return self.not_before if self.not_before and self.not_before > now and not self.on_hold else None
