"""Registrations: taken, looked at, cancelled."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.domain.event import EventType
from app.domain.ids import new_id
from app.domain.job import JobState
from app.domain.registration import Progress, Registration, RegistrationState
from app.domain.times import from_ms, to_ms
from app.domain.wire import to_json
from app.store import keys
from app.store.scripts import Call, Scripts
from app.store.sealing import Sealer

LONGEST_WATCHED_AND_TRIED = timedelta(days=14)  # 7 of watching, some of trying, and a margin
IDEMPOTENCY_LIFE = timedelta(hours=24)
CREATED = "created"
SCAN = 200  # registrations read in one round trip
SCAN_MOST = 2_000  # and looked through for one page, so that a filter that fits nothing ends


@dataclass(frozen=True, slots=True)
class Idempotency:
    """What an Idempotency-Key stands for: the digests of the key and of the body, and the answer to give again."""

    key_digest: str
    body_digest: str
    answer: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """The key had been used. `answer` is the first one, or None if it belongs to another body."""

    answer: str | None


Known = tuple[Registration, Progress]


class Registrations:
    def __init__(self, scripts: Scripts, sealer: Sealer, *, retention: timedelta) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._sealer = sealer
        self._keep_s = int(retention.total_seconds())
        self._longest_life = LONGEST_WATCHED_AND_TRIED + retention

    def add(self, registration: Registration, idempotency: Idempotency | None = None) -> Repeated | None:
        """None if it was taken; once this returns it is in Redis, with its watches."""
        place = f"{registration.tenant}|{idempotency.key_digest}" if idempotency else ""
        key, value = "", ""
        if idempotency:
            key = keys.idempotency(registration.tenant, idempotency.key_digest)
            value = f"{idempotency.body_digest} {self._sealer.seal(idempotency.answer, place)}"
        earlier = self._scripts.run(
            Call(
                "register",
                (
                    to_ms(registration.created_at),
                    registration.id,
                    self.record(registration),
                    registration.tenant,
                    registration.project,
                    registration.destination,
                    ",".join(event.removeprefix("job.") for event in registration.events),
                    to_ms(registration.deadline_at),
                    self._keep_s,
                    new_id("reg", max(0, to_ms(registration.created_at - self._longest_life)), 0),
                    key,
                    value,
                    int(IDEMPOTENCY_LIFE.total_seconds()),
                    *registration.job_ids,
                ),
            )
        )
        if earlier == CREATED or idempotency is None:
            return None
        body_digest, sealed = earlier.split(" ", 1)
        return Repeated(self._sealer.open(sealed, place) if body_digest == idempotency.body_digest else None)

    def get(self, tenant: str, id: str) -> Known | None:
        return next(self._load(tenant, [id]), None)

    def page(
        self, tenant: str, *, limit: int, cursor: str | None, wanted: Callable[[Known], bool]
    ) -> tuple[list[Known], str | None]:
        """Newest first, and the cursor of the next page (an id: those after it were seen)."""
        found: list[Known] = []
        for _ in range(SCAN_MOST // SCAN):
            ids = self._redis.zrevrangebylex(
                keys.registrations(tenant), f"({cursor}" if cursor else "+", "-", start=0, num=SCAN
            )
            for known in self._load(tenant, ids):
                if wanted(known):
                    if len(found) == limit:
                        return found, found[-1][0].id
                    found.append(known)
            if len(ids) < SCAN:
                return found, None
            cursor = ids[-1]
        return found, cursor

    def cancel(self, tenant: str, id: str) -> datetime | None:
        """Until when an attempt that is under way may last; None if the tenant has no such registration."""
        until = self._scripts.run(Call("cancel", (id, tenant, self._keep_s)))
        return None if until < 0 else from_ms(until)

    def under_way(self, id: str, now: datetime) -> bool:
        """True while an attempt for it may be under way."""
        fields = self._redis.hgetall(keys.progress(id))
        return any(int(until) > to_ms(now) for field, until in fields.items() if field.startswith("permit:"))

    def record(self, registration: Registration) -> str:
        place = f"{registration.tenant}|{registration.id}"
        fields = {
            "tenant": registration.tenant,
            "project": registration.project,
            "url": self._sealer.seal(registration.callback_url, place),
            "destination": registration.destination,
            "secret": self._sealer.seal(registration.secret, place),
            "events": registration.events,
            "metadata": registration.metadata,
            "created": to_ms(registration.created_at),
            "deadline": to_ms(registration.deadline_at),
            "traceparent": registration.traceparent,
        }
        return to_json(fields)

    def parse(self, id: str, record: str, job_ids: tuple[str, ...] = ()) -> Registration:
        """Back from `record`. The ids of its jobs are kept elsewhere; who needs them gives them."""
        fields: dict[str, Any] = json.loads(record)
        place = f"{fields['tenant']}|{id}"
        return Registration(
            id=id,
            tenant=fields["tenant"],
            project=fields["project"],
            job_ids=job_ids,
            callback_url=self._sealer.open(fields["url"], place),
            destination=fields["destination"],
            secret=self._sealer.open(fields["secret"], place),
            events=tuple(EventType(event) for event in fields["events"]),
            metadata=fields["metadata"],
            created_at=from_ms(fields["created"]),
            deadline_at=from_ms(fields["deadline"]),
            traceparent=fields["traceparent"],
        )

    def _load(self, tenant: str, ids: list[str]) -> Iterator[Known]:
        """Those that are the tenant's and still there; the index forgets the others."""
        pipeline = self._redis.pipeline(transaction=False)
        for id in ids:
            pipeline.get(keys.registration(id))
            pipeline.hgetall(keys.progress(id))
        answers = pipeline.execute()
        for id, record, fields in zip(ids, answers[::2], answers[1::2], strict=True):
            if record is None or fields.get("tenant") != tenant:
                self._redis.zrem(keys.registrations(tenant), id)
                continue
            jobs = self._job_states(fields)
            yield self.parse(id, record, tuple(jobs)), _progress(fields, jobs)

    def _job_states(self, fields: dict[str, str]) -> dict[str, JobState]:
        """Its own end of each job, else what the watch says, else `pending`."""
        ends = {name.removeprefix("job:"): end for name, end in fields.items() if name.startswith("job:")}
        running = [job for job, end in ends.items() if not end]
        pipeline = self._redis.pipeline(transaction=False)
        for job in running:
            pipeline.hget(keys.watch(fields["project"], job), "state")
        seen = dict(zip(running, pipeline.execute(), strict=True)) if running else {}
        return {job: JobState(end or seen[job] or JobState.PENDING) for job, end in ends.items()}


def _progress(fields: dict[str, str], jobs: dict[str, JobState]) -> Progress:
    return Progress(
        state=RegistrationState(fields["state"]),
        jobs=jobs,
        pending=int(fields["pending"]),
        delivered=int(fields["delivered"]),
        dead=int(fields["dead"]),
    )
