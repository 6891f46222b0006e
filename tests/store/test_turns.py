"""Tenants take turns in a project's lane, and leave each other threads."""

from datetime import datetime, timedelta

import pytest

from app.bootstrap.stores import Stores
from app.domain.job import Job, JobState
from app.domain.times import to_ms
from app.store.agenda import DELIVER, POLL, Agenda, Claimed, LaneLimits
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall
from tests.support.claims import claim_due, put_due

SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=60)


@pytest.fixture
def slow_polls(stores: Stores) -> Agenda:
    """One poll a second."""
    return Agenda(stores.scripts, POLL, lease=LEASE, limits=LaneLimits(rate=1, burst=1, concurrency=256))


def register_flood(stores: Stores, registration, tenant: str, count: int) -> None:
    stores.registrations.add(registration(*(f"{tenant}-{number:04d}" for number in range(count)), tenant=tenant))


def claim_each_second(agenda: Agenda, now: datetime, seconds: int) -> list[Claimed]:
    return [item for second in range(seconds) for item in claim_due(agenda, now + second * SECOND, 8)]


def postpone(stores: Stores, item: Claimed, due: datetime) -> None:
    stores.scripts.run(
        ScriptCall(
            "postpone", project=item.lane, job=item.id, fence=item.fence, due=to_ms(due), patience=1000, changes=()
        )
    )


def test_a_job_behind_thousands_of_another_tenant_is_polled_in_its_own_turn(
    stores: Stores, registration, slow_polls: Agenda, now: datetime
) -> None:
    for _ in range(3):
        register_flood(stores, registration, "flood", 1_000)
    register_flood(stores, registration, "quiet", 1)
    first = claim_each_second(slow_polls, now, 2)
    assert sorted(item.tenant for item in first) == ["flood", "quiet"]


def test_tenants_share_the_budget_evenly(stores: Stores, registration, slow_polls: Agenda, now: datetime) -> None:
    for tenant in ("a", "b", "c"):
        register_flood(stores, registration, tenant, 100)
    claimed = [item.tenant for item in claim_each_second(slow_polls, now, 30)]
    assert {tenant: claimed.count(tenant) for tenant in ("a", "b", "c")} == {"a": 10, "b": 10, "c": 10}


def test_a_tenant_alone_has_the_whole_budget(stores: Stores, registration, slow_polls: Agenda, now: datetime) -> None:
    register_flood(stores, registration, "a", 100)
    assert len(claim_each_second(slow_polls, now, 20)) == 20


def test_a_job_of_two_tenants_is_polled_in_the_turn_of_either_and_once(
    stores: Stores, registration, slow_polls: Agenda, now: datetime
) -> None:
    register_flood(stores, registration, "flood", 100)
    for tenant in ("flood", "quiet"):
        stores.registrations.add(registration("shared", tenant=tenant))
    claimed = claim_each_second(slow_polls, now, 3)
    shared = [item for item in claimed if item.id == "shared"]
    assert [item.tenant for item in shared] == ["quiet"]
    postpone(stores, shared[0], now + 3 * SECOND)
    later = claim_each_second(slow_polls, now + 3 * SECOND, 3)
    assert [item.tenant for item in later if item.id == "shared"] == ["quiet"]
    stores.scripts.run(stores.watches.complete(shared[0], Job("shared", JobState.SUCCEEDED), now))
    assert not any(stores.redis.zscore(keys.tenant_due("default", each), "shared") for each in ("flood", "quiet"))


def test_the_jobs_of_a_request_are_listed_in_the_turn_of_each_tenant_that_waits(
    stores: Stores, registration, slow_polls: Agenda, now: datetime
) -> None:
    register_flood(stores, registration, "flood", 100)
    stores.registrations.add(registration("x", tenant="flood", request_id="r"))
    stores.registrations.add(registration("x", tenant="quiet", request_id="r"))
    for tenant in ("flood", "quiet"):
        assert stores.redis.zscore(keys.tenant_due("default", tenant), "request:r") == 0
    assert "request:r" in [item.id for item in claim_each_second(slow_polls, now, 2)]


def test_what_is_in_no_tenants_set_has_a_turn_too(
    stores: Stores, registration, slow_polls: Agenda, now: datetime
) -> None:
    """An earlier version knows no turns: it puts items among the due ones of the lane alone."""
    register_flood(stores, registration, "flood", 100)
    stores.redis.hset(keys.watch("default", "of-before"), mapping={"state": "pending", "since": 0})
    stores.redis.zadd(keys.due(POLL, "default"), {"of-before": 0})
    assert "of-before" in [item.id for item in claim_each_second(slow_polls, now, 2)]


def test_a_lease_that_ends_is_due_again_in_the_turn_of_its_tenant(
    stores: Stores, registration, slow_polls: Agenda, now: datetime
) -> None:
    register_flood(stores, registration, "flood", 500)
    register_flood(stores, registration, "quiet", 1)
    claim_each_second(slow_polls, now, 2)
    again = claim_each_second(slow_polls, now + LEASE, 6)
    assert "quiet" in [item.tenant for item in again]


def test_tenants_without_jobs_leave_no_turn_behind(
    stores: Stores, registration, slow_polls: Agenda, now: datetime
) -> None:
    for number in range(100):
        made = registration(f"job-{number}", tenant=f"t{number}")
        stores.registrations.add(made)
        stores.registrations.cancel(made.tenant, made.id)
    register_flood(stores, registration, "last", 5)
    claim_each_second(slow_polls, now, 5)
    assert set(stores.redis.zrange(keys.turns("default"), 0, -1)) <= {"", "last"}


def test_no_tenant_takes_more_than_half_of_the_threads_that_others_leave(stores: Stores, now: datetime) -> None:
    agenda = Agenda(stores.scripts, DELIVER, lease=LEASE, limits=LaneLimits(rate=0, burst=1, concurrency=1_000))

    def claim(free: int, *running: str) -> list[str]:
        reply = stores.scripts.run(agenda.claim(now, free, running))
        return [item.tenant for item in agenda.claimed(reply)]

    for number in range(60):
        put_due(stores.redis, DELIVER, f"silent https://{number}.example:443", {f"dlv_{number}": 0})
    assert claim(16) == ["silent"] * 8
    assert claim(8, *["silent"] * 8) == []
    put_due(stores.redis, DELIVER, "quiet https://bot.example:443", {"dlv_quiet": to_ms(now)})
    assert claim(8, *["silent"] * 8) == ["quiet"]
    assert claim(1) == ["silent"]


def test_a_tenant_with_very_many_destinations_hides_no_other(stores: Stores, now: datetime) -> None:
    agenda = Agenda(stores.scripts, DELIVER, lease=LEASE, limits=LaneLimits(rate=0, burst=1, concurrency=1_000))
    for number in range(2_000):
        put_due(stores.redis, DELIVER, f"silent https://{number}.example:443", {f"dlv_{number}": 0})
    put_due(stores.redis, DELIVER, "quiet https://bot.example:443", {"dlv_quiet": to_ms(now)})
    seen: list[str] = []
    for call in range(10):
        reply = stores.scripts.run(agenda.claim(now + call * timedelta(milliseconds=20), 8, ["silent"] * 8))
        seen += [item.tenant for item in agenda.claimed(reply)]
    assert seen == ["quiet"]


def test_a_new_destination_gets_one_attempt_at_a_time_until_it_has_answered(
    stores: Stores, registration, now: datetime
) -> None:
    made = registration(job_ids=(), ended=tuple(Job(f"j{number}", JobState.SUCCEEDED) for number in range(5)))
    stores.registrations.add(made)
    assert len(claim_due(stores.deliveries_due, now, 10)) == 1
    assert claim_due(stores.deliveries_due, now, 10) == ()


def test_an_item_in_no_tenants_set_is_claimed_although_another_is_in_two(
    stores: Stores, registration, slow_polls: Agenda, now: datetime
) -> None:
    """Versions without turns leave no tenants."""
    stores.registrations.add(registration("old"))
    stores.redis.hdel(keys.watch("default", "old"), "tenants")
    stores.redis.delete(keys.tenant_due("default", "t"))
    for tenant in ("a", "b"):
        stores.registrations.add(registration("shared", tenant=tenant, at=now + timedelta(hours=1)))
    put_due(stores.redis, POLL, "default", {"shared": to_ms(now + timedelta(hours=1))}, tenant="a")
    put_due(stores.redis, POLL, "default", {"shared": to_ms(now + timedelta(hours=1))}, tenant="b")
    assert [item.id for item in claim_due(slow_polls, now, 8)] == ["old"]


def test_an_item_that_an_older_version_moved_is_claimed_at_its_new_time(
    stores: Stores, registration, slow_polls: Agenda, now: datetime
) -> None:
    register_flood(stores, registration, "a", 1)
    later = now + timedelta(minutes=1)
    stores.redis.zadd(keys.due(POLL, "default"), {"a-0000": to_ms(later)})
    assert claim_due(slow_polls, now, 8) == ()
    assert [item.id for item in claim_due(slow_polls, later, 8)] == ["a-0000"]
