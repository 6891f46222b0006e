"""Jobs, as far as a tenant that has registered them may know."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha1

from app.domain.job import Job, JobState
from app.domain.times import from_ms
from app.store.engine import keys
from app.store.engine.client import Client
from app.store.registrations import Registrations

LAST_SEEN = ("request_id", "phone_id", "server_id", "begin_time")


@dataclass(frozen=True, slots=True)
class KnownJob:
    """observed_at: when its end was seen; None while it has none, or where nothing tells of it any more."""

    job: Job
    observed_at: datetime | None


class Jobs:
    def __init__(self, redis: Client, registrations: Registrations) -> None:
        self._redis = redis
        self._registrations = registrations

    def get(self, tenant: str, project: str, id: str) -> KnownJob | None:
        """The last that is known of it; None if the tenant has not registered it, or long ago."""
        watch = self._redis.hgetall(keys.watch(project, id))
        waiting = [name for name in watch if name.startswith("reg_")]
        pipeline = self._redis.pipeline(transaction=False)
        for registration in waiting:
            pipeline.hget(keys.progress(registration), "tenant")
        if tenant in pipeline.execute():
            return _from_watch(id, watch)
        return self._from_registration(tenant, project, id)

    def _from_registration(self, tenant: str, project: str, id: str) -> KnownJob | None:
        """What is not watched any more, its latest registration still tells."""
        found, _ = self._registrations.page(
            tenant, limit=1, cursor=None, wanted=lambda known: known[0].project == project and id in known[1].jobs
        )
        for registration, progress in found:
            state = progress.jobs[id]
            delivery = keys.delivery(_delivery_id(registration.id, id, state))
            about, observed = self._redis.hmget(delivery, "about", "observed")
            if about is None or observed is None:
                return KnownJob(Job(id, state), None)
            return KnownJob(Job.from_dict(json.loads(about) | {"state": state}), from_ms(int(observed)))
        return None


def _from_watch(id: str, watch: Mapping[str, str]) -> KnownJob:
    state = JobState(watch["state"])
    if "job" in watch:
        return KnownJob(Job.from_dict(json.loads(watch["job"]) | {"state": state}), from_ms(int(watch["observed"])))
    status = int(watch["status"]) if watch.get("status") else None
    seen = {name: watch.get(name) or None for name in LAST_SEEN}
    return KnownJob(Job(id, state, status, **seen), None)


def _delivery_id(registration: str, job: str, state: JobState) -> str:
    """As lua/shared/3_ending.lua makes it."""
    digest = sha1(f"{registration}|{job}|{state}".encode(), usedforsecurity=False).hexdigest()
    return f"dlv_{registration[4:14]}{digest[:16]}"
