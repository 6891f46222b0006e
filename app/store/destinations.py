"""Destinations: what attempts tell of them, looked at, paused, resumed; and the operator, who is told of some."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.domain.destination import (
    DISABLED_AFTER,
    OPENS_AFTER,
    PAUSES,
    AttemptSignal,
    Destination,
    DestinationState,
    destination_id,
    lane_of,
)
from app.domain.times import from_ms, to_ms
from app.domain.wire import to_json
from app.store.agenda import DELIVER, MILLISECOND
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts

DISCARDED_AT_ONCE = 500  # a script that settles so many keeps Redis for some milliseconds
RULES = {
    "opens_after": OPENS_AFTER,
    "disabled_after": DISABLED_AFTER // MILLISECOND,
    "pauses": [pause // MILLISECOND for pause in PAUSES],
}


@dataclass(frozen=True, slots=True)
class Operator:
    """Where the operator is told: a registration as the scripts write it when there is something to tell."""

    id: str
    record: str
    tenant: str
    lane: str


@dataclass(frozen=True, slots=True)
class SignalReport:
    """What an attempt says of its destination. signal: JSON, by `Destinations.report`.

    on_reply: is called with the change of the destination's state; '' for none.
    """

    signal: str
    now: datetime
    on_reply: Callable[[str], None]


class Destinations:
    """concurrency: the most attempts at once to one destination. rate: attempts a second; 0 is unbounded."""

    def __init__(
        self, scripts: Scripts, *, concurrency: int, rate: float, retention: timedelta, operator: Operator | None = None
    ) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._concurrency = concurrency
        self._rate = rate
        self._keep_s = int(retention.total_seconds())
        self._operator = operator and {
            "id": operator.id,
            "record": operator.record,
            "tenant": operator.tenant,
            "lane": operator.lane,
        }

    def report(self, sign: AttemptSignal, why: str, started: datetime, *, is_bot: bool = False) -> str:
        """JSON for SignalReport. why: the reason, if there was no proper answer. is_bot: it takes one at a time."""
        told: dict[str, Any] = {
            "started": to_ms(started),
            "concurrency": 1 if is_bot else self._concurrency,
            "rate": self._rate,
            "answered": sign.answered,
            "overloaded": sign.overloaded,
        }
        if not sign.answered:
            told |= {"why": why, "pause": sign.pause // MILLISECOND, "rules": RULES}
            if self._operator:
                told["operator"] = self._operator
        return to_json(told)

    def page(self, tenant: str, *, limit: int, cursor: str | None) -> tuple[list[Destination], str | None]:
        """By address, which does not change as they are used, and the cursor of the next page."""
        used_at = {
            address: from_ms(int(used))
            for address, used in self._redis.zrange(keys.destinations(tenant), 0, -1, withscores=True)
        }
        left = sorted(address for address in used_at if cursor is None or address > cursor)
        shown = left[:limit]
        found = self._load({lane_of(tenant, address): used_at[address] for address in shown})
        return found, shown[-1] if len(left) > limit else None

    def get(self, tenant: str, id: str) -> Destination | None:
        """None if the tenant has none of that id."""
        for address, used in self._redis.zscan_iter(keys.destinations(tenant), count=1_000):
            lane = lane_of(tenant, address)
            if destination_id(lane) == id:
                return self._load({lane: from_ms(int(used))})[0]
        return None

    def pause(self, lane: str, now: datetime) -> None:
        """No attempt starts from now on; those that have started come to their end."""
        self._scripts.run_replicated(ScriptCall("pause_destination", lane=lane, now=to_ms(now)))

    def resume(self, lane: str, now: datetime) -> bool:
        """True if it had been disabled."""
        operator = to_json(self._operator) if self._operator else ""
        call = ScriptCall("resume_destination", lane=lane, now=to_ms(now), keep_s=self._keep_s, operator=operator)
        return bool(self._scripts.run_replicated(call))

    def discard(self, lane: str, now: datetime) -> int:
        """Gives up what is held; how many deliveries that were."""
        discarded, looked_at = 0, DISCARDED_AT_ONCE
        while looked_at == DISCARDED_AT_ONCE:
            died, looked_at = self._scripts.run_replicated(
                ScriptCall("discard_held", lane=lane, now=to_ms(now), keep_s=self._keep_s, limit=DISCARDED_AT_ONCE)
            )
            discarded += died
        return discarded

    def _load(self, used: Mapping[str, datetime]) -> list[Destination]:
        """used: when, by lane. In this order, from one round trip."""
        pipeline = self._redis.pipeline(transaction=False)
        for lane in used:
            pipeline.hgetall(keys.lane(DELIVER, lane))
            pipeline.zcard(keys.due(DELIVER, lane))
            pipeline.zcard(keys.leased(DELIVER, lane))
        answers = pipeline.execute()
        return [
            self._destination(lane, used[lane], answers[place : place + 3])
            for place, lane in zip(range(0, len(answers), 3), used, strict=True)
        ]

    def _destination(self, lane: str, used_at: datetime, answers: Sequence[Any]) -> Destination:
        fields, due, leased = answers
        moments = ("held", "failing_since", "answered", "failed", "not_before")
        held, failing_since, answered, failed, not_before = (_moment(fields.get(name)) for name in moments)
        return Destination(
            lane=lane,
            used_at=used_at,
            on_hold=DestinationState(fields["held_why"]) if held else None,
            on_hold_since=held,
            failures=int(fields.get("failures", 0)),
            failing_since=failing_since,
            answered_at=answered,
            failed_at=failed,
            failure=fields.get("failure"),
            refused="refusals" in fields,
            not_before=not_before,
            concurrency=1
            if "refusals" in fields
            else int(fields.get("places") or fields.get("most") or self._concurrency),
            deliveries=due + leased,
        )


def _moment(milliseconds: str | None) -> datetime | None:
    return from_ms(int(milliseconds)) if milliseconds else None
