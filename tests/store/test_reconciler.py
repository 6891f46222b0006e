"""What was deleted, or moved aside because it could not be read, comes back and is reported."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

import pytest

from app.bootstrap.stores import Stores
from app.domain.job import Job, JobState
from app.domain.times import from_ms, to_ms
from app.store.agenda import DELIVER, POLL
from app.store.data_marker import DataMarker
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall
from tests.support.claims import claim_due, mark_answered

HOUR = timedelta(hours=1)
LANE = "t https://bot.example:443"


@pytest.fixture
def reconcile(stores: Stores, now: datetime) -> Callable[[], None]:
    def run() -> None:
        for _ in range(3):  # what the first restores, the two others count
            while not stores.reconciler.step(now, 3):
                pass

    return run


def counts_of(stores: Stores) -> list[dict[str, str]]:
    found = [stores.redis.hgetall(name) for name in (keys.counts(), keys.tenant_counts("t"))]
    return [{name: count for name, count in counts.items() if count != "0"} for counts in found]


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
    counts = counts_of(stores)
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
    assert counts_of(stores) == counts
    assert len(deliveries_of()) == 1
    found, _ = stores.registrations.page("t", limit=10, cursor=None, wanted=lambda _: True)
    assert {known[0].id for known in found} == {by_job.id, by_request.id, ended.id}


def test_a_registration_that_knows_all_jobs_of_its_request_does_not_wait_for_them_again(
    stores: Stores, registration, now: datetime, reconcile
) -> None:
    made = registration(job_ids=(), request_id="r")
    stores.registrations.add(made)
    for at in (now, now + HOUR, now + 2 * HOUR):
        (item,) = claim_due(stores.polls_due, at, 1)
        (request,) = stores.requests.load([item])
        stores.scripts.run(stores.requests.record_list((item, request), at, at, running={"job-1"}, ended=()))
    assert not stores.redis.hexists(keys.request("default", "r"), made.id)
    reconcile()
    assert not stores.redis.hexists(keys.request("default", "r"), made.id)


def test_a_wrong_count_is_counted_again_once_it_was_reported(stores: Stores, registration, now: datetime) -> None:
    stores.registrations.add(registration("job-1"))
    stores.redis.hset(keys.tenant_counts("t"), "registrations", "many")
    stores.redis.hset(keys.tenant_counts("t"), "jobs", "7")  # wrong, but a number
    stores.registrations.add(registration("job-2"))  # finds the text, and counts from 0
    assert stores.redis.hget(keys.tenant_counts("t"), "registrations") == "1"
    stores.reconciler.run(now)
    assert counts_of(stores)[1] == {"registrations": "2", "jobs": "2"}


def test_counts_that_change_while_they_are_counted_are_not_corrected(
    stores: Stores, registration, now: datetime, caplog
) -> None:
    """There are 20 registrations at any time, each time others."""
    chance = Random(1)
    made = [registration(f"job-{number}") for number in range(20)]
    for each in made:
        stores.registrations.add(each)
    for _ in range(3):
        while not stores.reconciler.step(now, 3):
            stores.registrations.cancel("t", made.pop(chance.randrange(20)).id)
            made.append(registration(f"job-{chance.randrange(1000)}"))
            stores.registrations.add(made[-1])
    assert "counts.corrected" not in caplog.messages


def test_what_cannot_be_read_is_reported_once_and_listed_for_a_day(stores: Stores, caplog) -> None:
    damaged = keys.watch("default", "job-1")
    stores.redis.set(damaged, "x")
    today = from_ms(stores.redis.time()[0] * 1000)  # of the server, which dates the list
    for _ in range(3):
        stores.reconciler.run(today)
    assert [(record.message, record.fields["record"]) for record in caplog.records] == [("record.unreadable", damaged)]
    assert stores.reconciler.unreadable() == [damaged]
    assert stores.redis.get(keys.aside(damaged)) == "x"
    stores.reconciler.run(today + timedelta(days=1, minutes=1))
    assert stores.reconciler.unreadable() == []


def test_a_redis_that_has_lost_its_data_is_reported_once_by_each_process(stores: Stores, now: datetime, caplog) -> None:
    markers = [stores.data_marker, DataMarker(stores.scripts)]
    for marker in markers:
        marker.check(now)
    assert stores.data_marker.lost_at() is None
    stores.redis.flushall()
    for _ in range(2):
        for marker in markers:
            marker.check(now)
    assert caplog.messages == ["redis.data_lost"] * len(markers)
    assert stores.data_marker.lost_at() == now


def test_the_registration_that_notifies_the_operator_is_no_damage(stores: Stores, now: datetime) -> None:
    """It has no jobs, and lives for ever."""
    stores.redis.set(keys.registration("reg_operator"), "{}")
    stores.redis.hset(keys.progress("reg_operator"), mapping={"tenant": ":operator", "project": "", "lane": LANE})
    for _ in range(3):
        stores.reconciler.run(now)
    assert stores.reconciler.unreadable() == []
    assert stores.redis.zcard(keys.deadlines()) == 0
    assert counts_of(stores) == [{}, {}]


def test_a_key_that_ends_before_it_is_examined_is_no_damage(stores: Stores, registration, now: datetime) -> None:
    gone = [keys.progress(registration().id), keys.request("default", "r"), keys.watch("default", "job-1")]
    stores.scripts.run(ScriptCall("reconcile", now=to_ms(now), keep_s=1, names=gone))
    assert stores.redis.keys("*") == []


def test_a_call_ends_early_after_much_work(stores: Stores, registration, now: datetime) -> None:
    names = []
    for number in range(3):
        made = registration(*(f"{number}-{job}" for job in range(400)))
        stores.registrations.add(made)
        names.append(keys.progress(made.id))
    done, *_ = stores.scripts.run(ScriptCall("reconcile", now=to_ms(now), keep_s=1, names=names))
    assert done == 2
