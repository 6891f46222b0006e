"""Registrations: taken, looked at, given another secret or URL, cancelled."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from app.domain.destination import lane_of, split_lane
from app.domain.errors import OperatorError
from app.domain.event import EventType
from app.domain.ids import created_ms, new_id
from app.domain.job import Job, JobState
from app.domain.quota import QuotaReached, Quotas
from app.domain.registration import Notify, Progress, Registration, RegistrationState
from app.domain.times import from_ms, to_ms
from app.domain.verdict import Verdict
from app.domain.wire import to_json
from app.store.encryption import registration_secrets
from app.store.encryption.cipher import Cipher
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts
from app.store.gone_urls import GoneUrls
from app.store.idempotency import Idempotency, Repeated, StoredResponses

LONGEST_WATCHED_AND_TRIED = timedelta(days=14)  # 7 of watching, some of trying, and a margin
CREATED = "created"
NOTHING = "nothing"  # to be told of
JOB = "job:"
NO_ID = "#"  # begins what stands for a job without id
SCAN = 200  # registrations read in one round trip
SCAN_MOST = 2_000  # and looked through for one page, so that a filter that fits nothing ends

# What a record does not say.
USUAL: Mapping[str, Any] = {
    "events": list(EventType),
    "traceparent": None,
    "notify": Notify.EACH,
    "request_id": None,
    "ended": [],
    "verify": False,
    "format": "standard",
    "language": "en",
    "link": None,
}
EACH_JOB = tuple(event for event in EventType if event is not EventType.GROUP_FINISHED)


Known = tuple[Registration, Progress]


class Registrations:
    def __init__(self, scripts: Scripts, sealer: Cipher, gone_urls: GoneUrls, *, retention: timedelta) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._sealer = sealer
        self._answers = StoredResponses(sealer)
        self._gone_urls = gone_urls
        self._keep_s = int(retention.total_seconds())
        self._longest_life = LONGEST_WATCHED_AND_TRIED + retention

    def add(
        self,
        registration: Registration,
        idempotency: Idempotency | None = None,
        *,
        quotas: Quotas | None = None,
        rate: float | None = None,
    ) -> Repeated | None:
        """None if it was taken; once this returns it is in Redis, with its watches. QuotaReached if it was not.

        rate: messages a second, one at a time, that its destination bears, if that is known.
        """
        earlier = self._scripts.run_replicated(
            ScriptCall(
                "register",
                now=to_ms(registration.created_at),
                id=registration.id,
                record=self.record(registration),
                tenant=registration.tenant,
                project=registration.project,
                lane=lane_of(registration.tenant, registration.destination),
                destination_name=registration.destination,
                events=_told_of(registration),
                deadline=to_ms(registration.deadline_at),
                keep_s=self._keep_s,
                oldest_id=new_id("reg", max(0, to_ms(registration.created_at - self._longest_life)), 0),
                operation=registration.operation or "",
                request=registration.request_id or "",
                test=int(registration.verify),
                quotas=" ".join(map(str, quotas.of_registrations)) if quotas else "",
                rate=rate or "",
                traceparent=registration.traceparent or "",
                jobs=registration.job_ids,
                ended=list(_ended(registration)),
                **self._answers.arguments(registration.tenant, idempotency),
            )
        )
        if isinstance(earlier, list):
            raise QuotaReached(earlier[0])
        if earlier == CREATED or idempotency is None:
            return None
        return self._answers.repeated(registration.tenant, idempotency, earlier)

    def get(self, tenant: str, id: str) -> Known | None:
        return next(self._load(tenant, [id]), None)

    def page(
        self, tenant: str, *, limit: int, cursor: str | None, wanted: Callable[[Known], bool]
    ) -> tuple[list[Known], str | None]:
        """Newest first, and the cursor of the next page (an id: those after it were seen)."""
        found: list[Known] = []
        # Mostly all of them are wanted: then the first look is enough, and one more tells whether there is a next page.
        for count in (limit + 1, *(SCAN for _ in range(SCAN_MOST // SCAN))):
            ids = self._redis.zrevrangebylex(
                keys.registrations(tenant), f"({cursor}" if cursor else "+", "-", start=0, num=count
            )
            for known in self._load(tenant, ids):
                if wanted(known):
                    if len(found) == limit:
                        return found, found[-1][0].id
                    found.append(known)
            if len(ids) < count:
                return found, None
            cursor = ids[-1]
        return found, cursor

    def change(
        self,
        tenant: str,
        id: str,
        changed: Callable[[Registration], Registration],
        idempotency: Idempotency | None = None,
    ) -> Registration | Repeated | None:
        """The registration with what is secret of it from now on; None if the tenant has no such registration."""
        key = keys.registration(id)
        while True:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.get(key)
            pipeline.hmget(keys.progress(id), "tenant", "project", "lane")
            # Last: if no answer is kept by then, the record is as it was before.
            pipeline.get(self._answers.key(tenant, idempotency))
            record, (owner, project, lane), earlier = self._scripts.replicas.execute(pipeline)
            if record is None or owner != tenant:
                return None
            if idempotency and earlier:
                return self._answers.repeated(tenant, idempotency, earlier)
            after = changed(self.parse(id, record, project=project, lane=lane))
            anew = to_json(json.loads(record) | {"sealed": self._sealed(after)})
            answer = self._answers.arguments(tenant, idempotency)
            call = ScriptCall("compare_and_set", name=key, old=record, new=anew, **answer)
            if self._scripts.run_replicated(call):
                return after

    def cancel(self, tenant: str, id: str) -> datetime | None:
        """Until when an attempt that is under way may last; None if the tenant has no such registration."""
        until = self._scripts.run_replicated(ScriptCall("cancel", id=id, tenant=tenant, keep_s=self._keep_s))
        return None if until < 0 else from_ms(until)

    def watching(self, tenant: str, id: str) -> bool:
        """False as well if the tenant has no such registration."""
        owner, state = self._redis.hmget(keys.progress(id), "tenant", "state")
        return owner == tenant and state is None

    def under_way(self, id: str, now: datetime) -> bool:
        """True while an attempt for it may be under way."""
        fields = self._redis.hgetall(keys.progress(id))
        return any(int(until) > to_ms(now) for field, until in fields.items() if field.startswith("permit:"))

    def record(self, registration: Registration) -> str:
        """What the scripts need not know, and of this what is not USUAL: bytes count here."""
        special = {
            "events": list(registration.events),
            "traceparent": registration.traceparent,
            "notify": registration.notify,
            "request_id": registration.request_id,
            "ended": [job.as_dict() for job in registration.ended],
            "verify": registration.verify,
            "format": registration.format,
            "language": registration.language,
            "link": registration.link,
        }
        fields = {
            "sealed": self._sealed(registration),
            "deadline": to_ms(registration.deadline_at),
        }
        return to_json(fields | {name: value for name, value in special.items() if value != USUAL[name]})

    def parse(self, id: str, record: str, *, project: str, lane: str) -> Registration:
        """Back from `record`, without the ids of its jobs: they are kept elsewhere."""
        fields: dict[str, Any] = {**USUAL, **json.loads(record)}
        tenant, _ = split_lane(lane)
        secrets = registration_secrets.load(self._sealer.decrypt(fields["sealed"], context(tenant, id)))
        return _registration(id, fields, secrets, project=project, lane=lane)

    def _shown(self, id: str, record: str, *, project: str, lane: str) -> tuple[Registration, bool]:
        """As far as it can be: False if what is secret of it does not open. One must not hide all others."""
        try:
            return self.parse(id, record, project=project, lane=lane), True
        except OperatorError:
            fields, secrets = {**USUAL, **json.loads(record)}, registration_secrets.unknown(split_lane(lane)[1])
            return _registration(id, fields, secrets, project=project, lane=lane), False

    def _sealed(self, registration: Registration) -> str:
        return self._sealer.encrypt(
            registration_secrets.dump(registration), context(registration.tenant, registration.id)
        )

    def _load(self, tenant: str, ids: list[str]) -> Iterator[Known]:
        known = list(self._read(tenant, ids))
        cut_off = self._gone_urls.are_gone(tenant, [registration for registration, _ in known])
        for (registration, progress), gone in zip(known, cut_off, strict=True):
            yield registration, replace(progress, gone=gone)

    def _read(self, tenant: str, ids: list[str]) -> Iterator[Known]:
        """Those that are the tenant's and still there; the index forgets the others."""
        pipeline = self._redis.pipeline(transaction=False)
        for id in ids:
            pipeline.get(keys.registration(id))
            pipeline.hgetall(keys.progress(id))
        answers = pipeline.execute()
        seen = self._seen(answers[1::2])
        for id, record, fields in zip(ids, answers[::2], answers[1::2], strict=True):
            if record is None or fields.get("tenant") != tenant:
                self._redis.zrem(keys.registrations(tenant), id)
                continue
            jobs = _job_states(fields, seen)
            registration, opened = self._shown(id, record, project=fields["project"], lane=fields["lane"])
            brought = {job.job_id for job in registration.ended}
            watched = tuple(job_id for job_id in jobs if job_id not in brought)
            yield replace(registration, job_ids=watched), replace(_progress(fields, jobs), opened=opened)

    def _seen(self, registrations: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], str | None]:
        """What their watches say of the jobs that have not ended, by project and job."""
        running = {
            (fields["project"], job) for fields in registrations for job, end in _ends(fields).items() if not end
        }
        pipeline = self._redis.pipeline(transaction=False)
        for project, job in running:
            pipeline.hget(keys.watch(project, job), "state")
        return dict(zip(running, pipeline.execute(), strict=True))


def _ends(fields: Mapping[str, str]) -> dict[str, str]:
    """Of each job that has an id; '' for one that has not ended."""
    jobs = {name.removeprefix(JOB): end for name, end in fields.items() if name.startswith(JOB)}
    return {key: end for key, end in jobs.items() if job_id_of(key)}


def _job_states(fields: Mapping[str, str], seen: Mapping[tuple[str, str], str | None]) -> dict[str, JobState]:
    """Its own end of each job, else what the watch says, else `pending`."""
    return {
        job: JobState(end or seen[fields["project"], job] or JobState.PENDING) for job, end in _ends(fields).items()
    }


def context(tenant: str, id: str) -> str:
    """Where what is secret of a registration is sealed for."""
    return f"{tenant}|{id}"


def _registration(
    id: str, fields: Mapping[str, Any], secrets: Mapping[str, Any], *, project: str, lane: str
) -> Registration:
    tenant, destination = split_lane(lane)
    return Registration(
        id=id,
        tenant=tenant,
        project=project,
        job_ids=(),
        destination=destination,
        events=tuple(EventType(event) for event in fields["events"]),
        created_at=from_ms(created_ms(id)),
        deadline_at=from_ms(fields["deadline"]),
        traceparent=fields["traceparent"],
        notify=Notify(fields["notify"]),
        request_id=fields["request_id"],
        ended=tuple(Job.from_dict(job) for job in fields["ended"]),
        verify=fields["verify"],
        format=fields["format"],
        language=fields["language"],
        link=fields["link"],
        **secrets,
    )


def _told_of(registration: Registration) -> str:
    """'' for the usual: every end of a job, and nothing of all of them together."""
    told_of = registration.subscribed_events
    return "" if set(told_of) == set(EACH_JOB) else ",".join(event.end for event in told_of) or NOTHING


def _ended(registration: Registration) -> Iterator[str]:
    for number, job in enumerate(registration.ended):
        yield from (job.job_id or f"{NO_ID}{number}", job.state, to_json(job.as_dict()))


def job_id_of(key: str) -> str | None:
    """From what stands for a job in Redis."""
    return None if key.startswith(NO_ID) else key or None


def _progress(fields: dict[str, str], jobs: dict[str, JobState]) -> Progress:
    return Progress(
        state=RegistrationState(fields.get("state", RegistrationState.WATCHING)),
        jobs=jobs,
        pending=int(fields.get("pending", 0)),
        delivered=int(fields.get("delivered", 0)),
        dead=int(fields.get("dead", 0)),
        unseen=JobState(fields[JOB + NO_ID]) if JOB + NO_ID in fields else None,
        tested=Verdict(fields["tested"]) if "tested" in fields else None,
    )
