"""The lifecycle of a delivery: the next step after an attempt. All retry rules are in this module."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from app.domain.destination import is_bot
from app.domain.verdict import Verdict

JITTER = 0.1  # lengthens a wait by up to this share, never shortens it
MAX_REFUSED_TRIES = 3
CHAT_MAX_AGE = timedelta(hours=1)
MAX_DOUBTFUL_TRIES = 2  # for receivers that do not drop duplicates


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    HELD = "held"
    CANCELLED = "cancelled"


class Death(StrEnum):
    """Why a delivery is dead."""

    TRIES = "tries"
    REFUSED = "refused"
    GONE = "gone"
    GONE_BEFORE = "gone_before"
    GIVEN_UP = "given_up"
    DISCARDED = "discarded"
    DOUBTFUL = "doubtful"
    LATE = "late"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """Reads what versions before 0.1.0 stored."""
        return cls.DISCARDED if value == "dropped" else None

    @property
    def description(self) -> str:
        return DESCRIPTIONS[self]


DESCRIPTIONS = {
    Death.TRIES: "every attempt of the retry schedule failed",
    Death.REFUSED: f"refused {MAX_REFUSED_TRIES} times: see the last attempt; a person must act",
    Death.GONE: "the receiver answered 410: it is not called again",
    Death.GONE_BEFORE: "its URL answered 410 before; not called until a test call or a new registration succeeds",
    Death.GIVEN_UP: "the worker stopped during every attempt",
    Death.DISCARDED: "discarded with all deliveries on hold for its destination",
    Death.DOUBTFUL: "it may have arrived, but no answer confirmed it; another attempt might post it twice",
    Death.LATE: "no attempt succeeded in time, and chats are not sent old messages",
}


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """waits: before the 2nd, 3rd, … attempt. There is one attempt more than there are waits.

    max_age: retries are allowed for this long after the schedule began. drops_duplicates: whether its receivers do.
    """

    waits: tuple[timedelta, ...]
    max_age: timedelta | None = None
    drops_duplicates: bool = True

    @property
    def attempts(self) -> int:
        return len(self.waits) + 1

    @property
    def max_lifetime(self) -> timedelta:
        """The longest time that a delivery is retried for: every wait with full jitter."""
        return sum(self.waits, timedelta()) * (1 + JITTER)


@dataclass(frozen=True, slots=True)
class RetrySchedules:
    """machines: for receivers that are programs. chat: for chat bots."""

    machines: RetrySchedule
    chat: RetrySchedule

    def of(self, lane: str) -> RetrySchedule:
        return self.chat if is_bot(lane) else self.machines


@dataclass(frozen=True, slots=True)
class TryCount:
    """An attempt as the schedule counts it: from 1, restarting when a delivery is redelivered.

    began: when the schedule began. refused: how many earlier tries were refused. doubtful: how many tries may have
    arrived although no answer confirmed it; counted only for receivers that do not drop duplicates.
    """

    number: int
    began: datetime
    refused: int = 0
    doubtful: int = 0


@dataclass(frozen=True, slots=True)
class NextStep:
    """due: set if pending. death: set if dead."""

    state: DeliveryState
    due: datetime | None = None
    death: Death | None = None


def abandon_before_send(tried: TryCount, schedule: RetrySchedule, now: datetime) -> Death | None:
    """Returns why the delivery is dead before this try is sent, None if it may be sent."""
    if tried.number > schedule.attempts:
        return Death.GIVEN_UP
    if not schedule.drops_duplicates and tried.doubtful >= MAX_DOUBTFUL_TRIES:
        return Death.DOUBTFUL
    if tried.number > 1 and schedule.max_age and now > tried.began + schedule.max_age:
        return Death.LATE
    return None


def next_step(
    tried: TryCount,
    verdict: Verdict,
    *,
    schedule: RetrySchedule,
    now: datetime,
    jitter: float,
    retry_after: timedelta | None = None,
) -> NextStep:
    """Returns what follows a try. jitter: 0 to 1, the share of the maximum jitter to apply."""
    if verdict is Verdict.DELIVERED:
        return NextStep(DeliveryState.DELIVERED)
    if death := _death(tried, verdict, schedule):
        return NextStep(DeliveryState.DEAD, death=death)
    wait = schedule.waits[tried.number - 1] * (1 + JITTER * jitter)
    life_left = tried.began + schedule.max_lifetime - now
    floor = min(retry_after or timedelta(), life_left)
    due = now + max(wait, floor)
    if schedule.max_age and due > tried.began + schedule.max_age:
        return NextStep(DeliveryState.DEAD, death=Death.LATE)
    return NextStep(DeliveryState.PENDING, due)


def _death(tried: TryCount, verdict: Verdict, schedule: RetrySchedule) -> Death | None:
    if verdict is Verdict.GONE:
        return Death.GONE
    # Only refusals count: a gateway may answer 404 for a moment after hours of 503.
    if verdict is Verdict.REFUSED and tried.refused + 1 >= MAX_REFUSED_TRIES:
        return Death.REFUSED
    if not schedule.drops_duplicates and tried.doubtful:
        return Death.DOUBTFUL
    return Death.TRIES if tried.number >= schedule.attempts else None
