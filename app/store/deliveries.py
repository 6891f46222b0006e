"""Deliveries: begun, recorded, looked at."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.domain.delivery import DeliveryState, Next
from app.domain.event import Event, EventType
from app.domain.ids import event_id
from app.domain.job import Job, JobState
from app.domain.registration import Registration
from app.domain.times import from_ms, to_ms
from app.domain.wire import to_json
from app.store import keys
from app.store.agenda import Claimed
from app.store.registrations import SCAN, SCAN_MOST, Registrations
from app.store.scripts import Call, Scripts


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that has a permit: it must be over by `permit_until`."""

    claimed: Claimed
    permit_until: datetime
    number: int
    created_at: datetime
    facts: tuple[str, ...]  # for `Deliveries.open`


@dataclass(frozen=True, slots=True)
class Delivery:
    id: str
    tenant: str
    registration_id: str
    event_id: str
    type: EventType
    job_id: str
    destination: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_at: datetime | None


class Deliveries:
    def __init__(self, scripts: Scripts, registrations: Registrations, *, retention: timedelta) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._registrations = registrations
        self._keep_s = int(retention.total_seconds())

    def begin(self, claimed: Sequence[Claimed], permit_until: datetime) -> list[Begun]:
        """One round trip for all. Those that are not wanted any more are left out, and off the agenda."""
        calls = [Call("begin", (item.id, item.lane, item.fence, to_ms(permit_until))) for item in claimed]
        answers = self._scripts.run_all(calls)
        return [
            Begun(item, permit_until, answer[0], from_ms(int(answer[1])), tuple(answer[2:]))
            for item, answer in zip(claimed, answers, strict=True)
            if answer
        ]

    def open(self, begun: Begun) -> tuple[Registration, Event]:
        """What to tell whom. OperatorError if the key that sealed it is missing."""
        registration_id, record, job_state, snapshot, observed = begun.facts
        registration = self._registrations.parse(registration_id, record)
        job = Job.from_dict(json.loads(snapshot) | {"state": job_state})
        event = Event(
            id=event_id(registration_id, job.job_id, job.state),
            registration_id=registration_id,
            project=registration.project,
            job=job,
            observed_at=from_ms(int(observed)),
            metadata=registration.metadata,
        )
        return registration, event

    def record(self, claimed: Claimed, follows: Next, line: Mapping[str, Any]) -> Call:
        """The attempt is over: its line for the log, and what follows."""
        due = to_ms(follows.due) if follows.due else ""
        args = (claimed.id, claimed.lane, claimed.fence, follows.state.value, due, to_json(line), self._keep_s)
        return Call("record_attempt", args)

    def get(self, tenant: str, id: str) -> tuple[Delivery, list[dict[str, Any]]] | None:
        """A delivery and its attempts, oldest first."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(keys.delivery(id))
        pipeline.lrange(keys.attempts(id), 0, -1)
        fields, lines = pipeline.execute()
        if fields.get("tenant") != tenant:
            return None
        return _delivery(id, fields), [json.loads(line) for line in lines]

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
        lowest = f"[{to_ms(since):013d}" if since else "-"
        newest = f"({cursor}" if cursor else f"({to_ms(until):013d}" if until else "+"
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
        loaded = []
        for entry, fields in zip(entries, pipeline.execute(), strict=True):
            if fields:
                loaded.append((entry, _delivery(entry.partition(":")[2], fields)))
            else:
                self._redis.zrem(keys.deliveries(tenant), entry)
        return loaded


def _delivery(id: str, fields: Mapping[str, str]) -> Delivery:
    return Delivery(
        id=id,
        tenant=fields["tenant"],
        registration_id=fields["registration"],
        event_id="evt_" + id.removeprefix("dlv_"),
        type=EventType.of(JobState(fields["job_state"])),
        job_id=fields["job_id"],
        destination=fields["lane"],
        state=DeliveryState(fields["state"]),
        attempts=int(fields["attempts"]),
        created_at=from_ms(int(fields["created"])),
        next_at=from_ms(int(fields["next"])) if fields["next"] else None,
    )
