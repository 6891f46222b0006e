"""An agenda: ids by the time at which each is due, in lanes. Crashed work falls due again by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.budget import Budget
from app.domain.times import from_ms, to_ms
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts

POLL, DELIVER = "poll", "deliver"
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """How a lane without settings of its own is served.

    rate: a second; 0 is unbounded. burst: how many seconds' worth may be used at once. places: the most at once.
    """

    rate: float
    burst: float
    concurrency: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """Leased work. The fence is the end of the lease: only who shows it can say how the work went."""

    lane: str
    id: str
    fence: int
    due_at: datetime

    @property
    def lease_ends(self) -> datetime:
        return from_ms(self.fence)


class Agenda:
    def __init__(self, scripts: Scripts, name: str, *, lease: timedelta, pace: LaneLimits) -> None:
        self.name = name
        self._scripts = scripts
        self._lease = lease
        self._pace = pace

    def claim(self, now: datetime, limit: int) -> ScriptCall:
        """At most `limit` due ids, shared out evenly over the lanes in which something is due."""
        pace = self._pace
        lease_ms = self._lease // MILLISECOND
        return ScriptCall(
            "claim",
            agenda_name=self.name,
            now=to_ms(now),
            lease_ms=lease_ms,
            limit=limit,
            rate=pace.rate,
            burst=pace.burst,
            concurrency=pace.concurrency,
        )

    @staticmethod
    def claimed(reply: Sequence[str]) -> tuple[Claimed, ...]:
        """The items in the reply to `claim`."""
        return tuple(
            Claimed(lane, id, int(fence), from_ms(int(float(due))))
            for lane, id, fence, due in zip(*(reply[i::4] for i in range(4)), strict=True)
        )

    def pause(self, lane: str, until: datetime) -> ScriptCall:
        """Serves nothing from the lane before `until`."""
        return ScriptCall("pause", agenda_name=self.name, lane=lane, till=to_ms(until))

    def throttle(self, lane: str, now: datetime, until: datetime, told_rate: float | None) -> ScriptCall:
        """Serves nothing before `until`, and more slowly after it: at the rate that was told, else at half."""
        return ScriptCall(
            "throttle",
            agenda_name=self.name,
            lane=lane,
            now=to_ms(now),
            till=to_ms(until),
            told_rate="" if told_rate is None else told_rate,
            rate=self._pace.rate,
        )

    def refuse(self, lane: str, now: datetime, asked: timedelta, pauses: Sequence[timedelta]) -> timedelta | None:
        """Serves nothing for as long as is asked, after the nth refusal in a row for the nth of the pauses at least;
        then one at a time till `accept`.

        The pause; None if there was one already. At once, as whoever asks must know.
        """
        call = ScriptCall(
            "open_breaker",
            agenda_name=self.name,
            lane=lane,
            now=to_ms(now),
            pause=asked // MILLISECOND,
            pauses=[pause // MILLISECOND for pause in pauses],
        )
        pause: int = self._scripts.run(call)
        return pause * MILLISECOND if pause else None

    def close_breaker(self, lane: str, now: datetime) -> bool:
        """Serves the lane as before; True if it was refused. At once, as well."""
        return bool(self._scripts.run(ScriptCall("close_breaker", agenda_name=self.name, lane=lane, now=to_ms(now))))

    def retry(self, lane: str, now: datetime, gap: timedelta, forget: str = "") -> ScriptCall:
        """Tries a lane that is refused, but no sooner than `gap` after the last refusal. forget: key of its memory."""
        return ScriptCall(
            "retry_soon",
            agenda_name=self.name,
            lane=lane,
            now=to_ms(now),
            gap_ms=gap // MILLISECOND,
            forget_key=forget,
        )

    def budgets(self, lanes: Sequence[str], now: datetime) -> list[Budget]:
        """Of each lane, from one round trip."""
        pace = self._pace
        calls = [
            ScriptCall(
                "lane_status", agenda_name=self.name, lane=lane, now=to_ms(now), rate=pace.rate, burst=pace.burst
            )
            for lane in lanes
        ]
        return [_budget(*answer) for answer in self._scripts.run_all(calls)]

    def spend_budget(self, lane: str, more: int) -> ScriptCall:
        """What was claimed cost so many calls more than one each; below zero, fewer."""
        return ScriptCall("adjust_tokens", agenda_name=self.name, lane=lane, calls=more)

    def set_rate(self, lane: str, rate: float | None) -> ScriptCall:
        """A rate of the lane's own, or None to go by the agenda's."""
        return ScriptCall("set_rate", agenda_name=self.name, lane=lane, rate="" if rate is None else rate)

    def next_due_at(self) -> datetime | None:
        """When something may be due; None when nothing is on the agenda."""
        head = self._scripts.redis.zrange(keys.lanes(self.name), 0, 0, withscores=True)
        return from_ms(int(head[0][1])) if head else None


def _budget(rate: str, learned: str, tokens: str, paused_until: str, late_ms: int) -> Budget:
    return Budget(
        rate=float(rate),
        learned_rate=float(learned) if learned else None,
        calls_left=float(tokens),
        paused_until=from_ms(int(paused_until)) if paused_until else None,
        late=late_ms * MILLISECOND,
    )
