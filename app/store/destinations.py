"""Destinations: health reported by attempts, pause and resume, and notices to the operator."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from app.domain.destination import (
    DISABLED_AFTER,
    OPENS_AFTER,
    PAUSES,
    AttemptSignal,
    Destination,
    DestinationState,
    destination_id,
    is_bot,
    lane_of,
)
from app.domain.times import from_ms, to_ms
from app.domain.wire import to_json
from app.store.agenda import DELIVER, MILLISECOND
from app.store.encryption.cipher import Cipher
from app.store.encryption.sealed_values import seal_text, unseal_text
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts
from app.store.engine.unreadable import moment, read, whole

NEVER = from_ms(0)  # when a destination was used, if that is damaged
DISCARD_BATCH = 500  # deliveries settled per script, which blocks Redis for some milliseconds
RULES = {
    "opens_after": OPENS_AFTER,
    "disabled_after": DISABLED_AFTER // MILLISECOND,
    "pauses": [pause // MILLISECOND for pause in PAUSES],
}


@dataclass(frozen=True, slots=True)
class Operator:
    """The registration that notifies the operator; scripts store it when there is an event."""

    id: str
    record: str
    tenant: str
    lane: str


@dataclass(frozen=True, slots=True)
class SignalReport:
    """The health of a destination, from an attempt. signal: JSON from `Destinations.report`.

    on_reply: called with the change of the destination's state; '' for none.
    """

    signal: str
    now: datetime
    on_reply: Callable[[str], None]


class Destinations:
    """concurrency: maximum for one destination. rate: attempts per second; 0 is unlimited."""

    def __init__(
        self,
        scripts: Scripts,
        cipher: Cipher,
        *,
        concurrency: int,
        rate: float,
        retention: timedelta,
        operator: Operator | None = None,
    ) -> None:
        self._scripts = scripts
        self._cipher = cipher
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

    def report(self, lane: str, signal: AttemptSignal, why: str, started: datetime) -> str:
        """Returns JSON for SignalReport. why: reason of a failure, which may quote the destination's answer."""
        report: dict[str, Any] = {
            "started": to_ms(started),
            "concurrency": 1 if is_bot(lane) else self._concurrency,
            "rate": self._rate,
            "answered": signal.available,
            "overloaded": signal.overloaded,
        }
        if not signal.available:
            report |= {
                "why": seal_text(self._cipher, why, failure_context(lane)),
                "pause": signal.pause // MILLISECOND,
                "rules": RULES,
            }
            if self._operator:
                report["operator"] = self._operator
        return to_json(report)

    def page(self, tenant: str, *, limit: int, cursor: str | None) -> tuple[list[Destination], str | None]:
        """Returns destinations by address, an order that use does not change, and the cursor of the next page."""
        used_at = {
            address: moment(used) or NEVER
            for address, used in self._redis.zrange(keys.destinations(tenant), 0, -1, withscores=True)
        }
        remaining = sorted(address for address in used_at if cursor is None or address > cursor)
        shown = remaining[:limit]
        found = self._load({lane_of(tenant, address): used_at[address] for address in shown})
        return found, shown[-1] if len(remaining) > limit else None

    def get(self, tenant: str, id: str) -> Destination | None:
        """Returns None if the tenant has no destination with this id."""
        for address, used in self._redis.zscan_iter(keys.destinations(tenant), count=1_000):
            lane = lane_of(tenant, address)
            if destination_id(lane) == id:
                return self._load({lane: moment(used) or NEVER})[0]
        return None

    def pause(self, lane: str, now: datetime) -> None:
        """Starts no further attempts; attempts in progress continue."""
        self._scripts.run_replicated(ScriptCall("pause_destination", lane=lane, now=to_ms(now)))

    def resume(self, lane: str, now: datetime) -> bool:
        """Resumes a destination; returns True if it was disabled."""
        operator = to_json(self._operator) if self._operator else ""
        call = ScriptCall("resume_destination", lane=lane, now=to_ms(now), keep_s=self._keep_s, operator=operator)
        return bool(self._scripts.run_replicated(call))

    def discard(self, lane: str, now: datetime) -> int:
        """Discards the deliveries on hold; returns how many."""
        discarded, examined = 0, DISCARD_BATCH
        while examined == DISCARD_BATCH:
            died, examined = self._scripts.run_replicated(
                ScriptCall("discard_held", lane=lane, now=to_ms(now), keep_s=self._keep_s, limit=DISCARD_BATCH)
            )
            discarded += died
        return discarded

    def _load(self, used: Mapping[str, datetime]) -> list[Destination]:
        """Loads destinations in one round trip, without damaged ones. used: time of last use, by lane."""
        pipeline = self._redis.pipeline(transaction=False)
        for lane in used:
            pipeline.hgetall(keys.lane(DELIVER, lane))
            pipeline.zcard(keys.due(DELIVER, lane))
            pipeline.zcard(keys.leased(DELIVER, lane))
        answers = pipeline.execute()
        found = (
            read(self._scripts, lane, partial(self._destination, lane, used[lane], answers[index : index + 3]))
            for index, lane in zip(range(0, len(answers), 3), used, strict=True)
        )
        return [destination for destination in found if destination]

    def _destination(self, lane: str, used_at: datetime, answers: Sequence[Any]) -> Destination:
        fields, due, leased = answers
        moments = ("held", "failing_since", "answered", "failed", "not_before")
        held, failing_since, answered, failed, not_before = (moment(fields.get(name)) for name in moments)
        return Destination(
            lane=lane,
            used_at=used_at,
            on_hold=DestinationState(fields["held_why"]) if held else None,
            on_hold_since=held,
            failures=whole(fields.get("failures"), 0),
            failing_since=failing_since,
            answered_at=answered,
            failed_at=failed,
            failure=unseal_text(self._cipher, fields.get("failure"), failure_context(lane)),
            tripped="refusals" in fields,
            not_before=not_before,
            concurrency=1
            if "refusals" in fields
            else whole(fields.get("places") or fields.get("most"), self._concurrency),
            deliveries=due + leased,
        )


def failure_context(lane: str) -> str:
    """Returns the context to which the encryption of a destination's last failure is bound."""
    return f"failure|{lane}"
