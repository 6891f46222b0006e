"""Registrations: created, read, changed (secret or URL), cancelled."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from app.domain.destination import lane_of, split_lane
from app.domain.errors import OperatorError
from app.domain.event import EventType
from app.domain.ids import created_ms, new_id
from app.domain.job import JobState
from app.domain.quota import QuotaReached, Quotas
from app.domain.registration import Notify, Progress, Registration, RegistrationState
from app.domain.times import from_ms, to_ms
from app.domain.verdict import Verdict
from app.domain.wire import to_json
from app.store.encryption import registration_secrets
from app.store.encryption.cipher import Cipher
from app.store.encryption.sealed_values import RECORD_TEXTS, seal, seal_job, unseal, unseal_job
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts
from app.store.engine.unreadable import read
from app.store.gone_urls import GoneUrls
from app.store.idempotency import Idempotency, Repeated, StoredResponses

LONGEST_ACTIVE = timedelta(days=14)  # 7 days of watching, then the retries, and a margin
CREATED = "created"
NO_EVENTS = "nothing"  # `events` and `notify` together select none
JOB = "job:"
NO_ID = "#"  # prefix of the key of a job without id
SCAN = 200  # entries read in one round trip
SCAN_MOST = 2_000  # entries read for one page, so that a filter without matches ends

# A record omits fields that have these values.
DEFAULTS: Mapping[str, Any] = {
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
    def __init__(self, scripts: Scripts, cipher: Cipher, gone_urls: GoneUrls, *, retention: timedelta) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._cipher = cipher
        self._answers = StoredResponses(cipher)
        self._gone_urls = gone_urls
        self._keep_s = int(retention.total_seconds())
        self._longest_life = LONGEST_ACTIVE + retention

    def add(
        self,
        registration: Registration,
        idempotency: Idempotency | None = None,
        *,
        quotas: Quotas | None = None,
        rate: float | None = None,
    ) -> Repeated | None:
        """Stores a registration with its watches, in Redis and enough replicas. Returns None, or the earlier use of its
        Idempotency-Key. Raises QuotaReached if it was not stored.

        rate: limit of its destination, if known, in messages per second, sent one at a time.
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
                events=_events_argument(registration),
                deadline=to_ms(registration.deadline_at),
                keep_s=self._keep_s,
                oldest_id=new_id("reg", max(0, to_ms(registration.created_at - self._longest_life)), 0),
                operation=registration.operation or "",
                request=registration.request_id or "",
                test=int(registration.verify),
                quotas=" ".join(map(str, quotas.for_registration)) if quotas else "",
                rate=rate or "",
                traceparent=registration.traceparent or "",
                jobs=registration.job_ids,
                ended=list(self._ended(registration)),
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
        """Returns registrations, newest first, and the cursor of the next page (an id: it begins after that)."""
        found: list[Known] = []
        # Usually all are wanted: then the first read is enough; one id more shows whether there is a next page.
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
        """Changes the encrypted fields of a registration; returns the changed registration.

        Returns None if the tenant has no such registration, or the earlier use of the Idempotency-Key.
        """
        key = keys.registration(id)
        while True:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.get(key)
            pipeline.hmget(keys.progress(id), "tenant", "project", "lane")
            # Read last: if no response is stored yet, the record read before it is unchanged too.
            pipeline.get(self._answers.key(tenant, idempotency))
            record, (owner, project, lane), earlier = self._scripts.replicas.execute(pipeline)
            if record is None or owner != tenant:
                return None
            if idempotency and earlier:
                return self._answers.repeated(tenant, idempotency, earlier)
            after = changed(self.parse(id, record, project=project, lane=lane))
            new_record = to_json(json.loads(record) | {"sealed": self._encrypt(after)})
            answer = self._answers.arguments(tenant, idempotency)
            call = ScriptCall("compare_and_set", name=key, old=record, new=new_record, **answer)
            if self._scripts.run_replicated(call):
                return after

    def cancel(self, tenant: str, id: str) -> datetime | None:
        """Cancels a registration; returns until when an attempt in progress may last, None if the tenant has no
        such registration."""
        until = self._scripts.run_replicated(ScriptCall("cancel", id=id, tenant=tenant, keep_s=self._keep_s))
        return None if until < 0 else from_ms(until)

    def watching(self, tenant: str, id: str) -> bool:
        """Returns False also if the tenant has no such registration."""
        owner, state = self._redis.hmget(keys.progress(id), "tenant", "state")
        return owner == tenant and state is None

    def under_way(self, id: str, now: datetime) -> bool:
        """True while an attempt for the registration may be in progress."""
        fields = self._redis.hgetall(keys.progress(id))
        return any(int(until) > to_ms(now) for field, until in fields.items() if field.startswith("permit:"))

    def record(self, registration: Registration) -> str:
        """Returns as JSON what scripts do not need, without DEFAULTS, to save memory."""
        optional = {
            "events": list(registration.events),
            "traceparent": registration.traceparent,
            "notify": registration.notify,
            "request_id": registration.request_id,
            "ended": [seal_job(self._cipher, job) for job in registration.ended],
            "verify": registration.verify,
            "format": registration.format,
            "language": registration.language,
            "link": registration.link,
        }
        fields = {
            "sealed": self._encrypt(registration),
            "deadline": to_ms(registration.deadline_at),
        }
        optional = {name: value for name, value in optional.items() if value != DEFAULTS[name]}
        return to_json(
            fields | seal(self._cipher, optional, RECORD_TEXTS, context(registration.tenant, registration.id))
        )

    def parse(self, id: str, record: str, *, project: str, lane: str) -> Registration:
        """Returns the registration of a `record`, without job ids, which are stored elsewhere."""
        stored: dict[str, Any] = json.loads(record)
        tenant, _ = split_lane(lane)
        secrets = registration_secrets.load(self._cipher.decrypt(stored["sealed"], context(tenant, id)))
        return self._registration(id, stored, secrets, project=project, lane=lane)

    def _parse_or_redact(self, id: str, record: str, *, project: str, lane: str) -> tuple[Registration, bool]:
        """Same as `parse`, but (without secrets, False) if decryption fails: one must not hide all the others."""
        try:
            return self.parse(id, record, project=project, lane=lane), True
        except OperatorError:
            secrets = registration_secrets.unknown(split_lane(lane)[1])
            return self._registration(id, json.loads(record), secrets, project=project, lane=lane, redact=True), False

    def _registration(
        self,
        id: str,
        record: Mapping[str, Any],
        secrets: Mapping[str, Any],
        *,
        project: str,
        lane: str,
        redact: bool = False,
    ) -> Registration:
        tenant, destination = split_lane(lane)
        fields = {**DEFAULTS, **unseal(self._cipher, record, RECORD_TEXTS, context(tenant, id), redact=redact)}
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
            ended=tuple(unseal_job(self._cipher, job, redact=redact) for job in fields["ended"]),
            verify=fields["verify"],
            format=fields["format"],
            language=fields["language"],
            link=fields["link"],
            **secrets,
        )

    def _encrypt(self, registration: Registration) -> str:
        return self._cipher.encrypt(
            registration_secrets.dump(registration), context(registration.tenant, registration.id)
        )

    def _ended(self, registration: Registration) -> Iterator[str]:
        for number, job in enumerate(registration.ended):
            yield from (job.job_id or f"{NO_ID}{number}", job.state, to_json(seal_job(self._cipher, job)))

    def _load(self, tenant: str, ids: list[str]) -> Iterator[Known]:
        known = list(self._read(tenant, ids))
        gone_flags = self._gone_urls.are_gone(tenant, [registration for registration, _ in known])
        for (registration, progress), gone in zip(known, gone_flags, strict=True):
            yield registration, replace(progress, callback_gone=gone)

    def _read(self, tenant: str, ids: list[str]) -> Iterator[Known]:
        """Reads the tenant's existing registrations; removes others from the index."""
        pipeline = self._redis.pipeline(transaction=False)
        for id in ids:
            pipeline.get(keys.registration(id))
            pipeline.hgetall(keys.progress(id))
        answers = pipeline.execute()
        watch_states = self._watch_states(answers[1::2])
        for id, record, fields in zip(ids, answers[::2], answers[1::2], strict=True):
            if record is None or fields.get("tenant") != tenant:
                self._redis.zrem(keys.registrations(tenant), id)
                continue
            known = read(self._scripts, id, partial(self._known, id, record, fields, watch_states))
            if known:
                yield known

    def _known(
        self, id: str, record: str, fields: dict[str, str], watch_states: Mapping[tuple[str, str], str | None]
    ) -> Known:
        jobs = _job_states(fields, watch_states)
        registration, is_decrypted = self._parse_or_redact(id, record, project=fields["project"], lane=fields["lane"])
        ended_before = {job.job_id for job in registration.ended}
        watched = tuple(job_id for job_id in jobs if job_id not in ended_before)
        return replace(registration, job_ids=watched), replace(_progress(fields, jobs), decrypted=is_decrypted)

    def _watch_states(self, registrations: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], str | None]:
        """Returns the state of the watches of jobs that have not ended, by project and job."""
        running = {
            (fields.get("project", ""), job)
            for fields in registrations
            for job, end in _ends(fields).items()
            if not end
        }
        pipeline = self._redis.pipeline(transaction=False)
        for project, job in running:
            pipeline.hget(keys.watch(project, job), "state")
        return dict(zip(running, pipeline.execute(), strict=True))


def _ends(fields: Mapping[str, str]) -> dict[str, str]:
    """Returns the end of each job with an id; '' if it has not ended."""
    jobs = {name.removeprefix(JOB): end for name, end in fields.items() if name.startswith(JOB)}
    return {key: end for key, end in jobs.items() if job_id_of(key)}


def _job_states(fields: Mapping[str, str], watch_states: Mapping[tuple[str, str], str | None]) -> dict[str, JobState]:
    """Returns each job's end for this registration, else the state of its watch, else `pending`."""
    return {
        job: JobState(end or watch_states[fields["project"], job] or JobState.PENDING)
        for job, end in _ends(fields).items()
    }


def context(tenant: str, id: str) -> str:
    """Returns the context to which the encryption of a registration is bound."""
    return f"{tenant}|{id}"


def _events_argument(registration: Registration) -> str:
    """Returns the subscribed events for the script; '' for the default, every end of a job."""
    events = registration.subscribed_events
    return "" if set(events) == set(EACH_JOB) else ",".join(event.end for event in events) or NO_EVENTS


def job_id_of(key: str) -> str | None:
    """Returns the job id of a key in Redis; None for a job without id."""
    return None if key.startswith(NO_ID) else key or None


def _progress(fields: dict[str, str], jobs: dict[str, JobState]) -> Progress:
    return Progress(
        state=RegistrationState(fields.get("state", RegistrationState.WATCHING)),
        jobs=jobs,
        pending=int(fields.get("pending", 0)),
        delivered=int(fields.get("delivered", 0)),
        dead=int(fields.get("dead", 0)),
        unseen=JobState(fields[JOB + NO_ID]) if JOB + NO_ID in fields else None,
        callback_verdict=Verdict(fields["tested"]) if "tested" in fields else None,
    )
