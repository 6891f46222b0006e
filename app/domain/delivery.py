"""The life of a delivery: what follows an attempt. The only place with retry rules."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.destination import is_bot
from app.domain.verdict import Verdict

JITTER = 0.1  # a wait is up to this share longer, never shorter
REFUSED_TRIES = 3
CHAT_LATEST = timedelta(hours=1)
DOUBTFUL_TRIES = 2  # where repeats are not dropped


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

    @property
    def description(self) -> str:
        return WORDS[self]


WORDS = {
    Death.TRIES: "every try of the schedule has failed",
    Death.REFUSED: f"refused {REFUSED_TRIES} times: see the last attempt; a person must act",
    Death.GONE: "the receiver answered 410: never again",
    Death.GONE_BEFORE: "its URL has answered 410; not called again until a test call or a new registration succeeds",
    Death.GIVEN_UP: "workers ended in the middle of every try",
    Death.DISCARDED: "discarded with all that its destination held",
    Death.DOUBTFUL: "it may have arrived, but nobody said so; once more, and people might read it twice",
    Death.LATE: "no try has arrived in time, and people are not told of what is old",
}


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """waits: before the 2nd, 3rd, … attempt. There is one attempt more than there are waits.

    latest: how long after it began something may be sent again. repeats: its receivers drop what comes twice.
    """

    waits: tuple[timedelta, ...]
    latest: timedelta | None = None
    repeats: bool = True

    @property
    def attempts(self) -> int:
        return len(self.waits) + 1

    @property
    def life(self) -> timedelta:
        """How long a delivery lives at most, every wait at its longest."""
        return sum(self.waits, timedelta()) * (1 + JITTER)


@dataclass(frozen=True, slots=True)
class RetrySchedules:
    """machines: for receivers that are programs. chat: for bots."""

    machines: RetrySchedule
    chat: RetrySchedule

    def of(self, lane: str) -> RetrySchedule:
        return self.chat if is_bot(lane) else self.machines


@dataclass(frozen=True, slots=True)
class TryCount:
    """An attempt as the schedule counts it: from 1, and anew when a delivery is delivered again.

    began: when the schedule began. refused: how many tries before this one were refused.
    doubtful: how many may have arrived although nobody said so; counted only where repeats are not dropped.
    """

    number: int
    began: datetime
    refused: int = 0
    doubtful: int = 0


@dataclass(frozen=True, slots=True)
class NextStep:
    """due: if it is pending. death: if it is dead."""

    state: DeliveryState
    due: datetime | None = None
    death: Death | None = None


def abandon_before_send(tried: TryCount, schedule: RetrySchedule, now: datetime) -> Death | None:
    """Why it is not even sent this time."""
    if tried.number > schedule.attempts:
        return Death.GIVEN_UP
    if not schedule.repeats and tried.doubtful >= DOUBTFUL_TRIES:
        return Death.DOUBTFUL
    if tried.number > 1 and schedule.latest and now > tried.began + schedule.latest:
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
    """What follows a try; `jitter` in 0..1 says how much of the lateness to use."""
    if verdict is Verdict.DELIVERED:
        return NextStep(DeliveryState.DELIVERED)
    if death := _death(tried, verdict, schedule):
        return NextStep(DeliveryState.DEAD, death=death)
    wait = schedule.waits[tried.number - 1] * (1 + JITTER * jitter)
    life_left = tried.began + schedule.life - now
    floor = min(retry_after or timedelta(), life_left)
    due = now + max(wait, floor)
    if schedule.latest and due > tried.began + schedule.latest:
        return NextStep(DeliveryState.DEAD, death=Death.LATE)
    return NextStep(DeliveryState.PENDING, due)


def _death(tried: TryCount, verdict: Verdict, schedule: RetrySchedule) -> Death | None:
    if verdict is Verdict.GONE:
        return Death.GONE
    # Only refusals count: a gateway that says 404 for a moment, after hours of 503, is no reason to give up.
    if verdict is Verdict.REFUSED and tried.refused + 1 >= REFUSED_TRIES:
        return Death.REFUSED
    if not schedule.repeats and tried.doubtful:
        return Death.DOUBTFUL
    return Death.TRIES if tried.number >= schedule.attempts else None
