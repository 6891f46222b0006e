"""The deployment's time: Redis' clock without its leaps, so that workers whose own clocks are wrong agree."""

import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app import logs
from app.domain.errors import Unavailable, UnfitRedis
from app.domain.times import to_ms
from app.store.engine import keys
from app.store.engine.connection import NO_RETRY
from app.store.engine.scripts import ScriptCall, Scripts
from app.store.engine.unreadable import whole

REFRESH_EVERY_S = 2.0
RETRY_AFTER_S = 0.5  # without an answer, or while Redis' clock has leapt
MAX_ROUND_TRIP_S = 1.0  # a slower answer is discarded as stale: this process may have been suspended
LEAP_S = 2.0  # a larger change between two measurements is no drift
MOST_DRIFT = 0.0005  # of the time since the last one: an API without calls measures rarely
VOTE_S = 2.5  # so that every process that measures has said whether it sees the leap
ALONE_S = 10.0  # a process that is in the minority for so long was itself suspended, with its clock
SAME_S = 10.0  # this machine's clock and a running dispatcher's last tick agree this well
OTHER_LEAP_S = 30.0  # a change of a leap by more is another leap
LONGEST_LEAP_S = 172_800.0  # a later last tick is damaged
WRONG_S = 5.0  # a machine's clock that is off by more is reported


def steady_clock() -> float:
    """Seconds of a clock that nobody can set and that counts while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class ClockMeasurement:
    """redis: how far Redis' clock is ahead of the steady one. last_tick: the dispatcher's, by the deployment's time.

    disputed: another process has seen Redis' clock leap, and its correction is not decided yet.
    """

    redis: float
    correction_ms: int
    last_tick: float
    disputed: bool

    @property
    def offset(self) -> float:
        """How far the deployment's time is ahead of the steady clock."""
        return self.redis + self.correction_ms / 1000


class RedisClock:
    """Returns the deployment's time when called. Without an answer from Redis, the last known offset applies.

    Redis' clock leaps when it is set, or when a failover leads to a machine with another time. Processes see it by
    their own steady clocks. When at least two do, and more than do not, a correction is stored in Redis, and the
    deployment's time goes on as before. Until then this process goes on by its steady clock. A process that has just
    started knows the time of the dispatcher's last tick: if Redis' clock is before that, it has leapt back; if it is
    far ahead of that and of this machine's clock, it has leapt ahead.

    steady, wall: clocks of this machine, in seconds; the wall clock since 1970. process: its name, unique. vote_s: for
    how long a process must have seen a leap before it counts the votes.
    """

    def __init__(
        self,
        scripts: Scripts,
        wall: Callable[[], float],
        steady: Callable[[], float] = steady_clock,
        process: str | None = None,
        *,
        vote_s: float = VOTE_S,
    ) -> None:
        self._scripts = Scripts(scripts.redis.with_retries(NO_RETRY), scripts.replicas)
        self._steady = steady
        self._wall = wall
        self._machine = socket.gethostname()
        self._process = process or f"{self._machine} {os.getpid()}"
        self._vote_s = vote_s
        self._is_wrong = False
        self._offset: float | None = None  # of the deployment's time, from the steady clock
        self._correction = 0.0
        self._ahead = 0.0
        self._refresh_at = float("-inf")
        self._accepted_at = 0.0
        self._leapt_at: float | None = None
        self._leap = 0.0  # since _leapt_at

    def __call__(self) -> datetime:
        if self._steady() >= self._refresh_at:
            self._refresh()
        now = self._wall() if self._offset is None else self._steady() + self._offset
        return datetime.fromtimestamp(now, UTC)

    @property
    def ahead(self) -> timedelta:
        """How far Redis' clock is ahead of this machine's, as last measured; negative if behind."""
        return timedelta(seconds=self._ahead)

    @property
    def correction(self) -> timedelta:
        """How far the deployment's time is ahead of Redis' clock, because that has leapt."""
        return timedelta(seconds=self._correction)

    def to_sign(self, now: datetime) -> datetime:
        """Returns the time for a signature, which receivers compare with their clocks.

        That is the median of the deployment's time, Redis' clock and this machine's: one of them may be wrong.
        """
        _, middle, _ = sorted((now, now - self.correction, datetime.fromtimestamp(self._wall(), UTC)))
        return middle

    def world_time(self) -> datetime:
        """Returns what the clocks of others probably show: for times that they set or check."""
        return self.to_sign(self())

    def _refresh(self) -> None:
        self._refresh_at = self._steady() + REFRESH_EVERY_S  # first: other threads need not measure as well
        measured = self._measure()
        if measured is None or not self._accept(measured):
            self._refresh_at = self._steady() + RETRY_AFTER_S
        else:
            self._offset, self._leapt_at, self._accepted_at = measured.offset, None, self._steady()
            self._correction = measured.correction_ms / 1000
            self._report_wall()

    def _accept(self, measured: ClockMeasurement) -> bool:
        """Returns False if Redis' clock has leapt, or may have."""
        if self._offset is None:
            offset = self._first_offset(measured)
            if measured.disputed and offset == measured.offset:
                return False  # this process cannot tell who is right
            self._offset, self._accepted_at = offset, self._steady()
        leap = measured.offset - self._offset
        if abs(leap) > LEAP_S + MOST_DRIFT * max(0.0, self._steady() - self._accepted_at):
            return not self._holds(leap, measured.correction_ms)
        if measured.disputed:
            self._vote(0.0, measured.correction_ms)
        return True

    def _first_offset(self, measured: ClockMeasurement) -> float:
        last_tick, wall = (moment - self._steady() for moment in (measured.last_tick, self._wall()))
        leapt_back = LEAP_S < last_tick - measured.offset < LONGEST_LEAP_S
        leapt_ahead = abs(wall - last_tick) < SAME_S < measured.offset - last_tick
        return last_tick if leapt_back or leapt_ahead else measured.offset

    def _measure(self) -> ClockMeasurement | None:
        """Returns None without an answer."""
        before = self._steady()
        pipeline = self._scripts.redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.hget(keys.clock(), "correction")
        pipeline.hget(keys.counts(), "looked")
        pipeline.exists(keys.clock_leaps())
        try:
            (seconds, microseconds), correction, looked, disputed = pipeline.execute()
        except (Unavailable, UnfitRedis):
            return None
        after = self._steady()
        if after - before > MAX_ROUND_TRIP_S:
            return None
        redis_now = seconds + microseconds / 1e6
        self._ahead = redis_now - self._wall()
        return ClockMeasurement(
            redis_now - (before + after) / 2, whole(correction, 0), whole(looked, 0) / 1000, bool(disputed)
        )

    def _report_wall(self) -> None:
        """Reports this machine's clock while it is wrong, and once when it is right again."""
        now = self()
        ahead = self._wall() - self.to_sign(now).timestamp()
        wrong, was_wrong, self._is_wrong = abs(ahead) > WRONG_S, self._is_wrong, abs(ahead) > WRONG_S
        if wrong and not was_wrong:
            remedy = "run NTP on this machine; until then the bridge goes on by Redis' clock"
            logs.event(
                "clock.wrong", level=logging.WARNING, machine=self._machine, ahead_s=round(ahead, 1), remedy=remedy
            )
        if wrong or was_wrong:
            ahead_ms = round(ahead * 1000) if wrong else ""
            with suppress(Unavailable, UnfitRedis):
                self._scripts.run(ScriptCall("report_clock", machine=self._machine, ahead=ahead_ms, now=to_ms(now)))

    def _holds(self, leap: float, correction_ms: int) -> bool:
        """Reports a leap of Redis' clock. Returns False if too few others have seen it: then it was ours."""
        if self._leapt_at is None:
            self._leapt_at = self._steady()
            logs.event(
                "redis.clock_leapt",
                level=logging.ERROR,
                seconds=round(leap, 1),
                remedy="set the clock of Redis' machine right; until then the bridge goes on by its own",
            )
            self._leap = leap
        if abs(leap - self._leap) > OTHER_LEAP_S:  # Redis' clock jumps to and fro: nobody follows it
            self._leapt_at, self._leap = self._steady(), leap
        seen_s = self._steady() - self._leapt_at
        return not self._vote(leap, correction_ms, count=seen_s >= self._vote_s) or seen_s < ALONE_S

    def _vote(self, leap: float, correction_ms: int, *, count: bool = False) -> bool:
        """Says what this process sees. count: also decides, if it can. Returns False without an answer from Redis."""
        call = ScriptCall(
            "correct_clock",
            process=self._process,
            correction=correction_ms,
            leap=round(leap * 1000),
            near=LEAP_S * 1000,
            now=to_ms(datetime.fromtimestamp(self._steady() + (self._offset or 0.0), UTC)),
            count=int(count),
        )
        try:
            self._scripts.run(call)
        except (Unavailable, UnfitRedis):
            return False
        return True
