"""Deliveries: begins and records attempts, reads deliveries, and sends them again."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from app.domain.delivery import Death, DeliveryState, NextStep, TryCount
from app.domain.destination import lane_of, split_lane
from app.domain.errors import OperatorError
from app.domain.event import FINISHED, TEST, DestinationChange, Event, EventType, Group, OwnEventType, event_type
from app.domain.ids import event_id
from app.domain.job import Job
from app.domain.registration import Registration
from app.domain.times import from_ms, to_ms
from app.domain.verdict import Verdict
from app.domain.wire import to_json
from app.store.agenda import DELIVER, Claimed
from app.store.destinations import SignalReport
from app.store.encryption.cipher import Cipher
from app.store.encryption.sealed_values import ATTEMPT_TEXTS, seal, unseal, unseal_job
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts
from app.store.engine.unreadable import nearest, read
from app.store.registrations import SCAN, SCAN_MOST, Registrations, job_id_of

REDELIVERY_BATCH = 100  # deliveries examined per call, which blocks Redis for some milliseconds


@dataclass(frozen=True, slots=True)
class StartedAttempt:
    """An attempt with a permit: it must end by `permit_until`."""

    claimed: Claimed
    permit_until: datetime
    number: int
    try_count: TryCount
    some_gone: bool  # the tenant has URLs that answered 410
    facts: tuple[str, ...]  # for `Deliveries.decrypt`
    digested: tuple["StartedAttempt", ...] = ()  # may go in the same message

    @property
    def tenant(self) -> str:
        return self.claimed.tenant


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
class DeadDeliveryFilter:
    """Selects dead deliveries; None matches any."""

    registration_id: str | None
    destination: str | None
    since: datetime | None
    until: datetime | None


class Deliveries:
    def __init__(self, scripts: Scripts, cipher: Cipher, registrations: Registrations, *, retention: timedelta) -> None:
        self._scripts = scripts
        self._cipher = cipher
        self._redis = scripts.redis
        self._registrations = registrations
        self._keep_s = int(retention.total_seconds())

    def begin(self, claimed: Sequence[Claimed], permit_until: datetime) -> list[StartedAttempt]:
        """Begins attempts, in one round trip; omits deliveries that are not to be sent now (lua/delivery/begin.lua)."""
        until = to_ms(permit_until)
        calls = [
            ScriptCall("begin", id=item.id, lane=item.lane, fence=item.fence, permit_until=until) for item in claimed
        ]
        answers = self._scripts.run_all(calls)
        return [_started(item, permit_until, answer) for item, answer in zip(claimed, answers, strict=True) if answer]

    def claim_more(
        self, started: Sequence[StartedAttempt], capacity: Callable[[StartedAttempt], int], now: datetime
    ) -> list[StartedAttempt]:
        """Adds to each attempt what else is due in its lane, up to `capacity` in all, in one round trip."""
        with_room = [item for item in started if capacity(item) > 1]
        if not with_room:
            return list(started)
        answers = self._scripts.run_all(_claim_more(item, capacity(item) - 1, now) for item in with_room)
        digested = {item.claimed.id: _digested(item, answer) for item, answer in zip(with_room, answers, strict=True)}
        return [replace(item, digested=digested.get(item.claimed.id, ())) for item in started]

    def decrypt(self, started: StartedAttempt) -> tuple[Registration, Event]:
        """Returns the registration to notify, and the event.

        Raises OperatorError if the encryption key is missing, or the record is damaged.
        """
        found = read(self._scripts, started.claimed.id, partial(self._parse, started))
        if found is None:
            raise OperatorError(f"what Redis stores of {started.claimed.id} is damaged")
        return found

    def _parse(self, started: StartedAttempt) -> tuple[Registration, Event]:
        registration_id, record, end, snapshot, observed, project = started.facts
        registration = self._registrations.parse(registration_id, record, project=project, lane=started.claimed.lane)
        event = Event(
            id=event_id(started.claimed.id),
            registration_id=registration_id,
            project=registration.project,
            about=about(self._cipher, end, json.loads(snapshot)),
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
        """Records a completed attempt.

        verdict: None if it says nothing about the URL. line: for the log of attempts; None if nothing was sent.
        signal: health of the destination. maybe_delivered: it may have been delivered although no answer came.
        """
        return ScriptCall(
            "record_attempt",
            signal.on_reply if signal else None,
            id=claimed.id,
            lane=claimed.lane,
            fence=claimed.fence,
            next_state=next_step.state,
            due=to_ms(next_step.due) if next_step.due else "",
            line=to_json(seal(self._cipher, line, ATTEMPT_TEXTS, claimed.id)) if line else "",
            keep_s=self._keep_s,
            verdict=verdict or "",
            death=next_step.death or "",
            maybe_delivered=1 if maybe_delivered else "",
            now=to_ms(signal.now) if signal else "",
            signal=signal.signal if signal else "",
        )

    def move(self, registration: Registration, url: str) -> None:
        """Sends future messages to `url`, unless the callback URL has been changed meanwhile. Runs at once."""

        def moved(found: Registration) -> Registration:
            unchanged = found.callback_url == registration.callback_url
            return replace(found, callback_url=url) if unchanged else found

        self._registrations.change(registration.tenant, registration.id, moved)

    def redeliver(self, tenant: str, id: str, now: datetime) -> DeliveryState | None:
        """Returns PENDING if it will be sent again, CANCELLED if not; None if the tenant has no such delivery."""
        state = self._scripts.run_replicated(ScriptCall("redeliver", now=to_ms(now), id=id, tenant=tenant))
        return DeliveryState(state) if state else None

    def redeliver_dead(
        self, tenant: str, which: DeadDeliveryFilter, now: datetime, *, rate: float, dry_run: bool
    ) -> int:
        """Sends dead deliveries again, oldest first; returns how many. If it fails, calling it again continues.

        rate: per second and destination. dry_run: counts only.
        """
        first, last = _bounds(which.since, which.until)
        total = 0
        while first:
            count, first = self._scripts.run_replicated(
                ScriptCall(
                    "redeliver_dead",
                    now=to_ms(now),
                    tenant=tenant,
                    first=first,
                    last=last,
                    limit=REDELIVERY_BATCH,
                    registration=which.registration_id or "",
                    lane=lane_of(tenant, which.destination) if which.destination else "",
                    rate=rate,
                    dry_run=int(dry_run),
                )
            )
            total += count
        return total

    def get(self, tenant: str, id: str) -> tuple[Delivery, list[dict[str, Any]]] | None:
        """Returns a delivery and its attempts, oldest first, without texts whose encryption key is missing."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(keys.delivery(id))
        pipeline.lrange(keys.attempts(id), 0, -1)
        fields, lines = pipeline.execute()
        if fields.get("tenant") != tenant:
            return None
        delivery = read(self._scripts, id, partial(_delivery, id, fields, self._lanes_on_hold([fields])))
        attempts = (read(self._scripts, keys.attempts(id), partial(self._attempt, id, line)) for line in lines)
        return (delivery, [attempt for attempt in attempts if attempt is not None]) if delivery else None

    def _attempt(self, id: str, line: str) -> dict[str, Any]:
        return unseal(self._cipher, json.loads(line), ATTEMPT_TEXTS, id, redact=True)

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
        """Returns deliveries, newest first, and the cursor of the next page (an index entry: it begins after that)."""
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
        """Loads existing deliveries; removes expired ones from the index."""
        pipeline = self._redis.pipeline(transaction=False)
        for entry in entries:
            pipeline.hgetall(keys.delivery(entry.partition(":")[2]))
        answers = pipeline.execute()
        on_hold = self._lanes_on_hold(answers)
        loaded = []
        for entry, fields in zip(entries, answers, strict=True):
            if fields:
                id = entry.partition(":")[2]
                delivery = read(self._scripts, id, partial(_delivery, id, fields, on_hold))
                loaded += [(entry, delivery)] if delivery else []
            else:
                self._redis.zrem(keys.deliveries(tenant), entry)
        return loaded

    def _lanes_on_hold(self, deliveries: Sequence[Mapping[str, str]]) -> set[str]:
        """Returns the lanes on hold. Deliveries do not store this: a change would have to update very many at once."""
        lanes = {fields.get("lane", "") for fields in deliveries if fields.get("state") == DeliveryState.PENDING}
        pipeline = self._redis.pipeline(transaction=False)
        for lane in lanes:
            pipeline.hexists(keys.lane(DELIVER, lane), "held")
        return {lane for lane, held in zip(lanes, pipeline.execute(), strict=True) if held}


def _bounds(since: datetime | None, until: datetime | None) -> tuple[str, str]:
    """Returns the range of the index from `since` until before `until`."""
    return f"[{to_ms(since):013d}" if since else "-", f"({to_ms(until):013d}" if until else "+"


def _started(item: Claimed, permit_until: datetime, answer: Sequence[Any]) -> StartedAttempt:
    number, spent, refused, began, doubts, gone, *facts = answer
    tried = TryCount(number - int(spent), nearest(began), int(refused), int(doubts))
    return StartedAttempt(item, permit_until, number, tried, bool(gone), tuple(facts))


def _claim_more(leader: StartedAttempt, limit: int, now: datetime) -> ScriptCall:
    claimed = leader.claimed
    return ScriptCall(
        "claim_more",
        id=claimed.id,
        lane=claimed.lane,
        fence=claimed.fence,
        permit_until=to_ms(leader.permit_until),
        now=to_ms(now),
        limit=limit,
    )


def _digested(leader: StartedAttempt, answers: Sequence[Sequence[Any]]) -> tuple[StartedAttempt, ...]:
    return tuple(_started(replace(leader.claimed, id=id), leader.permit_until, answer) for id, *answer in answers)


def about(cipher: Cipher, end: str, values: Any) -> Job | Group | DestinationChange | None:
    """Returns the subject of an event, as stored when it happened; None for a test.

    Raises OperatorError if the encryption key is missing.
    """
    if end == TEST:
        return None
    if end == FINISHED:
        return Group.from_dict(values)
    if end in frozenset(OwnEventType):
        since = from_ms(values.pop("since"))
        return DestinationChange(type=OwnEventType(end), since=since, **values)
    return unseal_job(cipher, values | {"state": end})


def _delivery(id: str, fields: Mapping[str, str], on_hold: Collection[str]) -> Delivery:
    state = DeliveryState(fields["state"])
    if state is DeliveryState.PENDING and fields["lane"] in on_hold:
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
