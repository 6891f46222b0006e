"""What was deleted, or moved aside because it could not be read, comes back."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from app.bootstrap.stores import Stores
from app.domain.job import Job, JobState
from app.store.agenda import DELIVER, POLL
from app.store.engine import keys
from app.store.reconciler import Reconciler
from tests.support.claims import claim_due, mark_answered

HOUR = timedelta(hours=1)
RETENTION = timedelta(days=14)
LANE = "t https://bot.example:443"


@pytest.fixture
def reconcile(stores: Stores, now: datetime) -> Callable[[], None]:
    def run() -> None:
        reconciler = Reconciler(stores.scripts, retention=RETENTION)
        reconciler.heal()
        while reconciler.heals:
            reconciler.step(now, 3)

    return run


@pytest.mark.parametrize(
    "lost",
    [
        keys.due(POLL, "default"),
        keys.lanes(POLL),
        keys.lanes(DELIVER),
        keys.due(DELIVER, LANE),
        keys.deadlines(),
        keys.watch("default", "job-1"),
        keys.request("default", "r"),
        keys.tenant_due("default", "t"),
        keys.turns("default"),
        keys.counts(),
        keys.tenant_counts("t"),
        keys.registrations("t"),
        keys.deliveries("t"),
    ],
)
@pytest.mark.parametrize("wrong", [True, False], ids=["of a wrong type", "deleted"])
def test_everything_ends_although_a_key_was_lost(
    stores: Stores, registration, deliveries_of, now: datetime, reconcile, lost: str, wrong: bool
) -> None:
    by_job, by_request = registration("job-1"), registration("job-2", request_id="r")
    ended = registration(job_ids=(), ended=(Job("job-3", JobState.FAILED),))
    for each in (by_job, by_request, ended):
        stores.registrations.add(each)
    counts = [stores.redis.hgetall(name) for name in (keys.counts(), keys.tenant_counts("t"))]
    stores.redis.delete(lost)
    if wrong:
        stores.redis.set(lost, "x")
    claim_due(stores.polls_due, now, 0)  # a script that finds it
    reconcile()
    polled = {item.id for item in claim_due(stores.polls_due, now, 10)}
    assert "job-1" in polled
    assert polled & {"request:r", "job-2"}  # without its request, a job is polled by itself
    mark_answered(stores.redis)
    assert len(claim_due(stores.deliveries_due, now, 10)) == 1
    assert stores.redis.zcard(keys.deadlines()) == 2
    assert [stores.redis.hgetall(name) for name in (keys.counts(), keys.tenant_counts("t"))] == counts
    assert len(deliveries_of()) == 1
    found, _ = stores.registrations.page("t", limit=10, cursor=None, wanted=lambda _: True)
    assert {known[0].id for known in found} == {by_job.id, by_request.id, ended.id}
