"""Registrations with ended jobs and attempted deliveries, for an API in this process."""

from datetime import timedelta
from typing import Any

from app.domain.delivery import Death, DeliveryState, NextStep
from app.domain.job import Job, JobState
from app.domain.times import to_ms
from app.domain.verdict import Verdict
from tests.support.api_client import ApiCaller
from tests.support.claims import claim_due

SOON = timedelta(seconds=1)
DEAD = NextStep(DeliveryState.DEAD, death=Death.TRIES)


def end_with_outcome(api: ApiCaller, *job_ids: str, next_step: NextStep = DEAD, **fields: Any) -> list[dict[str, Any]]:
    """Registers each job, completes it, and records one attempt of its delivery, followed by `next_step`.

    Returns the registrations as the API showed them. fields: of each registration.
    """
    registered = [api.registered(job_id=job_id, **fields) for job_id in job_ids]
    runtime, now = api.runtime, api.runtime.stores.clock() + SOON
    runtime.stores.scripts.run(runtime.stores.polls_due.set_rate("default", 10_000))
    for claimed in claim_due(runtime.stores.polls_due, now, 1000):
        runtime.stores.scripts.run(runtime.stores.watches.complete(claimed, Job(claimed.id, JobState.SUCCEEDED), now))
    now += SOON
    while claimed := claim_due(runtime.stores.deliveries_due, now, 1000):
        for begun in runtime.stores.deliveries.begin(claimed, now + SOON):
            line = {"id": "att_1", "number": 1, "started_at": to_ms(now), "took_ms": 1, "verdict": "retry"}
            runtime.stores.scripts.run(runtime.stores.deliveries.record(begun.claimed, Verdict.RETRY, next_step, line))
    return registered


def only_delivery(api: ApiCaller, query: str = "") -> dict[str, Any]:
    (delivery,) = api.get(f"/v1/deliveries{query}")["items"]
    return delivery
