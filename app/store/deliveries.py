"""Deliveries: begun, recorded, looked at, delivered once more."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from app.domain.delivery import Death, DeliveryState, NextStep, TryCount
from app.domain.destination import lane_of, split_lane
from app.domain.event import FINISHED, TEST, DestinationChange, Event, EventType, Group, OwnEventType, event_type
from app.domain.ids import event_id
from app.domain.job import Job
from app.domain.registration import Registration
from app.domain.times import from_ms, to_ms
from app.domain.verdict import Verdict
from app.domain.wire import to_json
from app.store.agenda import DELIVER, Claimed
from app.store.destinations import SignalReport
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts
from app.store.registrations import SCAN, SCAN_MOST, Registrations, job_id_of

REDELIVERED_AT_ONCE = 100  # looked at in one call: some milliseconds in which Redis does nothing else


@dataclass(frozen=True, slots=True)
class StartedAttempt:
    """An attempt that has a permit: it must be over by `permit_until`."""

    claimed: Claimed
    permit_until: datetime
    number: int
    tried: TryCount
    some_gone: bool  # of the tenant's URLs
    facts: tuple[str, ...]  # for `Deliveries.open`
    along: tuple["StartedAttempt", ...] = ()  # in the same message, as far as it can be


@dataclass(frozen=True, slots=True)
class Delivery:
    id: str
    tenant: str
    registration_id: str
    event_id: str
    type: EventType | OwnEventType
    job_id: str | None
    destination: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_at: datetime | None
    death: Death | None


@dataclass(frozen=True, slots=True)
class DeadOnes:
    """Which dead deliveries; None for any."""

    registration_id: str | None
    destination: str | None
    since: datetime | None
    until: datetime | None


class Deliveries:
    def __init__(self, scripts: Scripts, registrations: Registrations, *, retention: timedelta) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._registrations = registrations
        self._keep_s = int(retention.total_seconds())

    def begin(self, claimed: Sequence[Claimed], permit_until: datetime) -> list[StartedAttempt]:
        """One round trip for all. Those that are not wanted any more are left out, and off the agenda."""
        until = to_ms(permit_until)
        calls = [
            ScriptCall("begin", id=item.id, lane=item.lane, fence=item.fence, permit_until=until) for item in claimed
        ]
        answers = self._scripts.run_all(calls)
        return [_begun(item, permit_until, answer) for item, answer in zip(claimed, answers, strict=True) if answer]

    def gather(
        self, begun: Sequence[StartedAttempt], most: Callable[[StartedAttempt], int], now: datetime
    ) -> list[StartedAttempt]:
        """Each with what else is due where it goes, up to `most` in all; one round trip for those that may take any."""
        eager = [item for item in begun if most(item) > 1]
        if not eager:
            return list(begun)
        answers = self._scripts.run_all(_gather(item, most(item) - 1, now) for item in eager)
        along = {item.claimed.id: _along(item, answer) for item, answer in zip(eager, answers, strict=True)}
        return [replace(item, along=along.get(item.claimed.id, ())) for item in begun]

    def decrypt(self, begun: StartedAttempt) -> tuple[Registration, Event]:
        """What to tell whom. OperatorError if the key that sealed it is missing."""
        registration_id, record, end, snapshot, observed, project = begun.facts
        registration = self._registrations.parse(registration_id, record, project=project, lane=begun.claimed.lane)
        event = Event(
            id=event_id(begun.claimed.id),
            registration_id=registration_id,
            project=registration.project,
            about=about(end, json.loads(snapshot)),
            observed_at=from_ms(int(observed)),
            metadata=registration.metadata,
        )
        return registration, event

    def record(
        self,
        claimed: Claimed,
        verdict: Verdict | None,
        next_step: NextStep,
        line: Mapping[str, Any] | None,
        signal: SignalReport | None = None,
        *,
        maybe_delivered: bool = False,
    ) -> ScriptCall:
        """Records an attempt that is over.

        verdict: None if it says nothing of the URL. line: for the log of attempts; None if nothing was sent.
        signal: what the attempt says of its destination. maybe_delivered: it may have arrived although no answer came.
        """
        return ScriptCall(
            "record_attempt",
            signal.on_reply if signal else None,
            id=claimed.id,
            lane=claimed.lane,
            fence=claimed.fence,
            next_state=next_step.state,
            due=to_ms(next_step.due) if next_step.due else "",
            line=to_json(line) if line else "",
            keep_s=self._keep_s,
            verdict=verdict or "",
            death=next_step.death or "",
            maybe_delivered=1 if maybe_delivered else "",
            now=to_ms(signal.now) if signal else "",
            signal=signal.signal if signal else "",
        )

    def move(self, registration: Registration, url: str) -> None:
        """Its messages go there from now on. At once; somebody else may have changed it in between."""

        def moved(found: Registration) -> Registration:
            still_there = found.callback_url == registration.callback_url
            return replace(found, callback_url=url) if still_there else found

        self._registrations.change(registration.tenant, registration.id, moved)

    def redeliver(self, tenant: str, id: str, now: datetime) -> DeliveryState | None:
        """PENDING if it is sent once more, CANCELLED if nothing is; None if the tenant has no such delivery."""
        state = self._scripts.run_replicated(ScriptCall("redeliver", now=to_ms(now), id=id, tenant=tenant))
        return DeliveryState(state) if state else None

    def redeliver_dead(self, tenant: str, which: DeadOnes, now: datetime, *, rate: float, dry_run: bool) -> int:
        """Oldest first, `rate` a second to one destination; how many. If it breaks off, calling it again goes on."""
        place, end = _bounds(which.since, which.until)
        total = 0
        while place:
            count, place = self._scripts.run_replicated(
                ScriptCall(
                    "redeliver_dead",
                    now=to_ms(now),
                    tenant=tenant,
                    first=place,
                    last=end,
                    limit=REDELIVERED_AT_ONCE,
                    registration=which.registration_id or "",
                    lane=lane_of(tenant, which.destination) if which.destination else "",
                    rate=rate,
                    dry_run=int(dry_run),
                )
            )
            total += count
        return total

    def get(self, tenant: str, id: str) -> tuple[Delivery, list[dict[str, Any]]] | None:
        """A delivery and its attempts, oldest first."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(keys.delivery(id))
        pipeline.lrange(keys.attempts(id), 0, -1)
        fields, lines = pipeline.execute()
        if fields.get("tenant") != tenant:
            return None
        return _delivery(id, fields, self._held([fields])), [json.loads(line) for line in lines]

    def page(
        self,
        tenant: str,
        *,
        limit: int,
        cursor: str | None,
        since: datetime | None,
        until: datetime | None,
        wanted: Callable[[Delivery], bool],
    ) -> tuple[list[Delivery], str | None]:
        """Newest first, and the cursor of the next page (an entry of the index: those after it were seen)."""
        lowest, newest = _bounds(since, until)
        newest = f"({cursor}" if cursor else newest
        found: list[Delivery] = []
        last = None
        for _ in range(SCAN_MOST // SCAN):
            entries = self._redis.zrevrangebylex(keys.deliveries(tenant), newest, lowest, start=0, num=SCAN)
            for entry, delivery in self._load(tenant, entries):
                if wanted(delivery):
                    if len(found) == limit:
                        return found, last
                    found.append(delivery)
                    last = entry
            if len(entries) < SCAN:
                return found, None
            newest = f"({entries[-1]}"
        return found, newest.removeprefix("(")

    def _load(self, tenant: str, entries: list[str]) -> list[tuple[str, Delivery]]:
        """Those that are still there; the index forgets the others."""
        pipeline = self._redis.pipeline(transaction=False)
        for entry in entries:
            pipeline.hgetall(keys.delivery(entry.partition(":")[2]))
        answers = pipeline.execute()
        held = self._held(answers)
        loaded = []
        for entry, fields in zip(entries, answers, strict=True):
            if fields:
                loaded.append((entry, _delivery(entry.partition(":")[2], fields, held)))
            else:
                self._redis.zrem(keys.deliveries(tenant), entry)
        return loaded

    def _held(self, deliveries: Sequence[Mapping[str, str]]) -> set[str]:
        """Lanes of these that are held. No delivery says so itself: it would be a change of very many at once."""
        lanes = {fields["lane"] for fields in deliveries if fields and fields["state"] == DeliveryState.PENDING}
        pipeline = self._redis.pipeline(transaction=False)
        for lane in lanes:
            pipeline.hexists(keys.lane(DELIVER, lane), "held")
        return {lane for lane, held in zip(lanes, pipeline.execute(), strict=True) if held}


def _bounds(since: datetime | None, until: datetime | None) -> tuple[str, str]:
    """Of the index: from a moment on, and before another."""
    return f"[{to_ms(since):013d}" if since else "-", f"({to_ms(until):013d}" if until else "+"


def _begun(item: Claimed, permit_until: datetime, answer: Sequence[Any]) -> StartedAttempt:
    number, spent, refused, began, doubtful, gone, *facts = answer
    tried = TryCount(number - int(spent), from_ms(int(began)), int(refused), int(doubtful))
    return StartedAttempt(item, permit_until, number, tried, bool(gone), tuple(facts))


def _gather(leader: StartedAttempt, most: int, now: datetime) -> ScriptCall:
    claimed = leader.claimed
    return ScriptCall(
        "claim_more",
        id=claimed.id,
        lane=claimed.lane,
        fence=claimed.fence,
        permit_until=to_ms(leader.permit_until),
        now=to_ms(now),
        limit=most,
    )


def _along(leader: StartedAttempt, answers: Sequence[Sequence[Any]]) -> tuple[StartedAttempt, ...]:
    return tuple(_begun(replace(leader.claimed, id=id), leader.permit_until, answer) for id, *answer in answers)


def about(end: str, values: Any) -> Job | Group | DestinationChange | None:
    """What was kept of it when it happened."""
    if end == TEST:
        return None
    if end == FINISHED:
        return Group.from_dict(values)
    if end in frozenset(OwnEventType):
        since = from_ms(values.pop("since"))
        return DestinationChange(type=OwnEventType(end), since=since, **values)
    return Job.from_dict(values | {"state": end})


def _delivery(id: str, fields: Mapping[str, str], held: Collection[str]) -> Delivery:
    state = DeliveryState(fields["state"])
    if state is DeliveryState.PENDING and fields["lane"] in held:
        state = DeliveryState.HELD
    return Delivery(
        id=id,
        tenant=fields["tenant"],
        registration_id=fields["registration"],
        event_id=event_id(id),
        type=event_type(fields["end"]),
        job_id=job_id_of(fields["job_id"]),
        destination=split_lane(fields["lane"])[1],
        state=state,
        attempts=int(fields["attempts"]),
        created_at=from_ms(int(fields["created"])),
        next_at=from_ms(int(fields["next"])) if fields["next"] else None,
        death=Death(fields["death"]) if fields["state"] == DeliveryState.DEAD and fields.get("death") else None,
    )
