"""Jobs, as shown to a tenant that has registered them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from app.domain.job import Job, JobState
from app.domain.times import from_ms
from app.store.encryption.cipher import Cipher
from app.store.encryption.sealed_values import unseal_job
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts
from app.store.engine.unreadable import read
from app.store.registrations import Registrations
from app.store.watches import LAST_SEEN


@dataclass(frozen=True, slots=True)
class KnownJob:
    """observed_at: when its end was observed; None before the end, or if that is not stored any more."""

    job: Job
    observed_at: datetime | None


class Jobs:
    def __init__(self, scripts: Scripts, cipher: Cipher, registrations: Registrations) -> None:
        self._scripts = scripts
        self._cipher = cipher
        self._redis = scripts.redis
        self._registrations = registrations

    def get(self, tenant: str, project: str, id: str) -> KnownJob | None:
        """Returns the last known state of a job; None if the tenant has not registered it, or its data has expired."""
        watch = self._redis.hgetall(keys.watch(project, id))
        waiting = [name for name in watch if name.startswith("reg_")]
        pipeline = self._redis.pipeline(transaction=False)
        for registration in waiting:
            pipeline.hget(keys.progress(registration), "tenant")
        if tenant in pipeline.execute():
            found = read(self._scripts, keys.watch(project, id), partial(self._from_watch, id, watch))
            if found:
                return found
        return self._from_registration(tenant, project, id)

    def _from_registration(self, tenant: str, project: str, id: str) -> KnownJob | None:
        """Reads a job that is not watched any more from its latest registration."""
        found, _ = self._registrations.page(
            tenant, limit=1, cursor=None, wanted=lambda known: known[0].project == project and id in known[1].jobs
        )
        for registration, progress in found:
            state = progress.jobs[id]
            outcome = ScriptCall("load_outcome", registration=registration.id, job=id, state=state)
            about, observed = self._scripts.run(outcome)
            if about is None or observed is None:
                return KnownJob(Job(id, state), None)
            return self._ended(about, state, observed)
        return None

    def _from_watch(self, id: str, watch: Mapping[str, str]) -> KnownJob:
        state = JobState(watch["state"])
        if "job" in watch:
            return self._ended(watch["job"], state, watch["observed"])
        seen: dict[str, Any] = {name: watch.get(name) or None for name in LAST_SEEN}
        status = seen.pop("status")
        return KnownJob(Job(id, state, int(status) if status else None, **seen), None)

    def _ended(self, snapshot: str, state: JobState, observed: str) -> KnownJob:
        """Leaves out what cannot be decrypted."""
        job = unseal_job(self._cipher, json.loads(snapshot) | {"state": state}, redact=True)
        return KnownJob(job, from_ms(int(observed)))
