"""An agenda: ids in lanes, each with its due time. An id whose worker crashed falls due again when its lease ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.budget import Budget
from app.domain.times import from_ms, to_ms
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts
from app.store.engine.unreadable import moment, nearest

POLL, DELIVER = "poll", "deliver"
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """The limits of a lane without its own.

    rate: per second; 0 is unlimited. burst: size of the token bucket, in seconds of the rate. concurrency: most leases.
    """

    rate: float
    burst: float
    concurrency: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A leased item.

    tenant: in whose turn it was claimed. fence: end of the lease (ms); a failure, or a new due time, counts only with
    the current one.
    """

    tenant: str
    lane: str
    id: str
    fence: int
    due_at: datetime

    @property
    def lease_ends(self) -> datetime:
        return from_ms(self.fence)


class Agenda:
    def __init__(self, scripts: Scripts, name: str, *, lease: timedelta, limits: LaneLimits) -> None:
        self.name = name
        self._scripts = scripts
        self._lease = lease
        self._limits = limits

    def claim(self, now: datetime, limit: int, running: Sequence[str] = ()) -> ScriptCall:
        """Claims at most `limit` due ids, divided evenly among the tenants, then the lanes, that have any.

        running: for each busy thread of this worker, the tenant whose item it works on. No tenant gets more than half
        of the threads that the others leave it.
        """
        limits = self._limits
        lease_ms = self._lease // MILLISECOND
        return ScriptCall(
            "claim",
            agenda_name=self.name,
            now=to_ms(now),
            lease_ms=lease_ms,
            limit=limit,
            rate=limits.rate,
            burst=limits.burst,
            concurrency=limits.concurrency,
            running=running,
        )

    @staticmethod
    def claimed(reply: Sequence[str]) -> tuple[Claimed, ...]:
        """Returns the items in the reply to `claim`."""
        return tuple(
            Claimed(tenant, lane, id, int(fence), from_ms(int(float(due))))
            for tenant, lane, id, fence, due in zip(*(reply[i::5] for i in range(5)), strict=True)
        )

    def pause(self, lane: str, until: datetime) -> ScriptCall:
        """Pauses the lane until `until`; a longer pause stays in force."""
        return ScriptCall("pause", agenda_name=self.name, lane=lane, till=to_ms(until))

    def throttle(self, lane: str, now: datetime, until: datetime, stated_rate: float | None) -> ScriptCall:
        """Pauses the lane until `until` and lowers its rate: to `stated_rate` (per second), else to half."""
        return ScriptCall(
            "throttle",
            agenda_name=self.name,
            lane=lane,
            now=to_ms(now),
            till=to_ms(until),
            stated_rate="" if stated_rate is None else stated_rate,
            rate=self._limits.rate,
        )

    def open_breaker(
        self, lane: str, now: datetime, requested: timedelta, pauses: Sequence[timedelta]
    ) -> timedelta | None:
        """Pauses the lane for `requested`, but from the second refusal in a row on at least for the nth of `pauses`.
        After that one item at a time is served until `close_breaker`.

        Returns the pause, None if the lane was paused already. Runs at once: the caller needs the result.
        """
        call = ScriptCall(
            "open_breaker",
            agenda_name=self.name,
            lane=lane,
            now=to_ms(now),
            pause=requested // MILLISECOND,
            pauses=[pause // MILLISECOND for pause in pauses],
        )
        pause_ms: int = self._scripts.run(call)
        return pause_ms * MILLISECOND if pause_ms else None

    def close_breaker(self, lane: str, now: datetime) -> bool:
        """Ends one-at-a-time service; True if the breaker was open. Runs at once: the caller needs the result."""
        return bool(self._scripts.run(ScriptCall("close_breaker", agenda_name=self.name, lane=lane, now=to_ms(now))))

    def count_refused_call(self, lane: str, now: datetime) -> bool:
        """Counts a refusal that may concern one call only. True if it should be checked whether all are refused.

        `close_breaker` sets the count back. Runs at once: the caller needs the result.
        """
        return bool(
            self._scripts.run(ScriptCall("count_refused_call", agenda_name=self.name, lane=lane, now=to_ms(now)))
        )

    def retry_soon(self, lane: str, now: datetime, gap: timedelta, forget_key: str = "") -> ScriptCall:
        """Ends the pause of a lane whose breaker is open, at the earliest `gap` after the last refusal.

        forget_key: a Redis key to delete, which caches the refusal.
        """
        return ScriptCall(
            "retry_soon",
            agenda_name=self.name,
            lane=lane,
            now=to_ms(now),
            gap_ms=gap // MILLISECOND,
            forget_key=forget_key,
        )

    def budgets(self, lanes: Sequence[str], now: datetime) -> list[Budget]:
        """Returns the budget of each lane, in one round trip."""
        limits = self._limits
        calls = [
            ScriptCall(
                "lane_status", agenda_name=self.name, lane=lane, now=to_ms(now), rate=limits.rate, burst=limits.burst
            )
            for lane in lanes
        ]
        return [_budget(*answer) for answer in self._scripts.run_all(calls)]

    def spend_budget(self, lane: str, extra: int) -> ScriptCall:
        """Takes `extra` calls from the budget, besides the one paid by each claim; negative: returns calls."""
        return ScriptCall("adjust_tokens", agenda_name=self.name, lane=lane, calls=extra)

    def set_rate(self, lane: str, rate: float | None) -> ScriptCall:
        """Sets the lane's own rate (per second); None: the lane uses the agenda's default."""
        return ScriptCall("set_rate", agenda_name=self.name, lane=lane, rate="" if rate is None else rate)

    def next_due_at(self) -> datetime | None:
        """Returns when the next item may be due; None if the agenda is empty."""
        head = self._scripts.redis.zrange(keys.lanes(self.name), 0, 0, withscores=True)
        return nearest(head[0][1]) if head else None


def _budget(rate: str, learned: str, tokens: str, paused_until: str, late_ms: int) -> Budget:
    return Budget(
        rate=float(rate),
        learned_rate=float(learned) if learned else None,
        calls_left=float(tokens),
        paused_until=moment(paused_until),
        late=late_ms * MILLISECOND,
    )
