"""Agendas: lanes, leases, fences, rates."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.domain.times import to_ms
from app.store.agenda import Agenda, Claimed, LaneLimits
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall
from tests.support.claims import claim_due, put_due

LEASE = timedelta(seconds=60)
SECOND = timedelta(seconds=1)


@pytest.fixture
def agenda(stores: Stores) -> Agenda:
    return Agenda(stores.scripts, "deliver", lease=LEASE, limits=LaneLimits(rate=0, burst=1, concurrency=1_000))


def schedule(stores: Stores, lane: str, due: datetime, *ids: str) -> None:
    put_due(stores.redis, "deliver", lane, dict.fromkeys(ids, to_ms(due)))


def ids_of(batch: Sequence[Claimed]) -> list[str]:
    return [item.id for item in batch]


def test_what_is_due_is_claimed_once_in_order(stores: Stores, agenda: Agenda, now: datetime) -> None:
    schedule(stores, "t a", now, "second")
    schedule(stores, "t a", now - SECOND, "first")
    schedule(stores, "t a", now + SECOND, "later")
    batch = claim_due(agenda, now, 10)
    assert ids_of(batch) == ["first", "second"]
    assert agenda.next_due_at() == now + SECOND
    assert ids_of(claim_due(agenda, now, 10)) == []
    assert ids_of(claim_due(agenda, now + SECOND, 10)) == ["later"]


def test_an_empty_agenda_has_no_next_due_time(agenda: Agenda, now: datetime) -> None:
    assert claim_due(agenda, now, 10) == ()
    assert agenda.next_due_at() is None


def test_claimed_work_comes_back_when_its_lease_ends(stores: Stores, agenda: Agenda, now: datetime) -> None:
    schedule(stores, "t a", now, "x")
    first = claim_due(agenda, now, 10)
    assert agenda.next_due_at() == now + LEASE
    assert ids_of(claim_due(agenda, now + LEASE - SECOND, 10)) == []
    second = claim_due(agenda, now + LEASE, 10)
    assert ids_of(second) == ["x"]
    assert second[0].fence > first[0].fence


def test_an_old_fence_settles_nothing(runtime: Runtime, agenda: Agenda, now: datetime) -> None:
    runtime.stores.redis.hset(keys.watch("default", "x"), mapping={"since": 1, "state": "pending", "tenants": "t"})
    polls = runtime.stores.polls_due
    put_due(runtime.stores.redis, "poll", "default", {"x": to_ms(now)})
    stalled = claim_due(polls, now, 1)[0]
    later = now + runtime.settings.lease
    current = claim_due(polls, later, 1)[0]
    due = to_ms(later + SECOND)
    postpone = partial(ScriptCall, "postpone", project="default", job="x", due=due, patience=1000, changes=())
    assert runtime.stores.scripts.run(postpone(fence=stalled.fence)) == 0
    assert runtime.stores.scripts.run(postpone(fence=current.fence)) == 1


def test_lanes_take_turns(stores: Stores, agenda: Agenda, now: datetime) -> None:
    schedule(stores, "t busy", now - SECOND, *(f"b{number:03d}" for number in range(100)))
    schedule(stores, "t quiet", now, "q")
    assert sorted(ids_of(claim_due(agenda, now, 4))) == ["b000", "b001", "q"]


def test_a_lane_that_was_served_waits_behind_the_others(stores: Stores, agenda: Agenda, now: datetime) -> None:
    for number, name in enumerate(("a", "b", "c")):
        schedule(stores, f"t {name}", now - number * SECOND, f"{name}1", f"{name}2")
    claimed = [ids_of(claim_due(agenda, now + timedelta(milliseconds=turn), 1)) for turn in range(6)]
    assert claimed == [["c1"], ["b1"], ["a1"], ["c2"], ["b2"], ["a2"]]


def test_a_lane_claims_no_more_than_its_concurrency(stores: Stores, now: datetime) -> None:
    narrow = Agenda(stores.scripts, "deliver", lease=LEASE, limits=LaneLimits(rate=0, burst=1, concurrency=2))
    schedule(stores, "t a", now, "1", "2", "3")
    assert ids_of(claim_due(narrow, now, 10)) == ["1", "2"]
    assert narrow.next_due_at() == now + LEASE
    assert ids_of(claim_due(narrow, now + SECOND, 10)) == []


def test_a_lane_with_a_rate_claims_no_more_than_that(stores: Stores, now: datetime) -> None:
    limited = Agenda(stores.scripts, "deliver", lease=LEASE, limits=LaneLimits(rate=2, burst=1.5, concurrency=1_000))
    schedule(stores, "t a", now, *(f"{number:02d}" for number in range(20)))
    batch = claim_due(limited, now, 100)
    assert len(batch) == 3  # the burst: a second and a half
    assert limited.next_due_at() == now + timedelta(milliseconds=500)
    assert [len(claim_due(limited, now + timedelta(milliseconds=250 * turn), 100)) for turn in range(1, 9)] == [
        *(0, 1, 0, 1, 0, 1, 0, 1)
    ]


def test_all_workers_share_one_bucket(stores: Stores, now: datetime) -> None:
    limits = LaneLimits(rate=10, burst=1, concurrency=1_000)
    workers = [Agenda(stores.scripts, "deliver", lease=LEASE, limits=limits) for _ in range(3)]
    schedule(stores, "t a", now, *(f"{number:03d}" for number in range(200)))
    claimed = sum(
        len(claim_due(worker, now + timedelta(milliseconds=10 * turn), 5)) for turn in range(201) for worker in workers
    )
    assert claimed == 10 + 20  # the burst, and two seconds at ten a second


def test_a_lane_with_its_own_rate_keeps_it(stores: Stores, agenda: Agenda, now: datetime) -> None:
    stores.redis.hset(keys.lane("deliver", "t a"), mapping={"rate": 1, "places": 5})
    schedule(stores, "t a", now, "1", "2")
    assert ids_of(claim_due(agenda, now, 10)) == ["1"]


def test_a_paused_lane_waits_and_the_others_do_not(stores: Stores, agenda: Agenda, now: datetime) -> None:
    schedule(stores, "t a", now, "a1")
    schedule(stores, "t b", now, "b1")
    stores.scripts.run(agenda.pause("t a", now + 2 * SECOND))
    stores.scripts.run(agenda.pause("t a", now + SECOND))  # the longer pause applies
    assert ids_of(claim_due(agenda, now, 10)) == ["b1"]
    assert ids_of(claim_due(agenda, now + SECOND, 10)) == []
    assert ids_of(claim_due(agenda, now + 2 * SECOND, 10)) == ["a1"]


def claimed_in(agenda: Agenda, begin: datetime, seconds: int) -> int:
    return sum(len(claim_due(agenda, begin + number * SECOND, 100)) for number in range(1, seconds + 1))


def test_a_throttled_lane_pauses_and_then_goes_at_half_the_rate(stores: Stores, now: datetime) -> None:
    agenda = Agenda(stores.scripts, "deliver", lease=LEASE, limits=LaneLimits(rate=8, burst=1, concurrency=1_000))
    schedule(stores, "t a", now, *(f"{number:04d}" for number in range(2_000)))
    throttles = [agenda.throttle("t a", now, now + 10 * SECOND, None) for _ in range(30)]  # calls that were under way
    stores.scripts.run_all(throttles)
    assert claimed_in(agenda, now, 9) == 0
    assert 40 <= claimed_in(agenda, now + 10 * SECOND, 10) <= 42


def test_a_rate_that_was_reported_is_kept_to(stores: Stores, now: datetime) -> None:
    agenda = Agenda(stores.scripts, "deliver", lease=LEASE, limits=LaneLimits(rate=100, burst=1, concurrency=1_000))
    schedule(stores, "t a", now, *(f"{number:04d}" for number in range(2_000)))
    stores.scripts.run(agenda.throttle("t a", now, now + SECOND, 10 / 60))
    assert 9 <= claimed_in(agenda, now, 60) <= 11


def test_what_was_learned_wears_off(stores: Stores, now: datetime) -> None:
    agenda = Agenda(stores.scripts, "deliver", lease=LEASE, limits=LaneLimits(rate=4, burst=1, concurrency=10_000))
    schedule(stores, "t a", now, *(f"{number:04d}" for number in range(2_000)))
    stores.scripts.run(agenda.throttle("t a", now, now + SECOND, 1))
    assert claimed_in(agenda, now + timedelta(minutes=11), 10) == 40


def test_a_project_is_back_at_its_rate_five_minutes_after_a_low_limit_was_named(stores: Stores, now: datetime) -> None:
    agenda = Agenda(stores.scripts, "poll", lease=LEASE, limits=LaneLimits(rate=10, burst=1, concurrency=10_000))
    put_due(stores.redis, "poll", "p", {f"{number:04d}": 0 for number in range(5_000)})
    minute = timedelta(minutes=1)
    stores.scripts.run(agenda.throttle("p", now, now + minute, 0.9 * 10 / 60))
    assert claimed_in(agenda, now + minute, 10) <= 2
    assert 60 <= sum(claimed_in(agenda, now + number * minute, 60) for number in (2, 3, 4)) <= 500
    assert claimed_in(agenda, now + 6 * minute, 10) == 100


def test_the_cost_of_a_claim_does_not_grow_with_the_backlog(stores: Stores, agenda: Agenda, now: datetime) -> None:
    """The cost is the number of commands that Redis ran, not the time."""

    def commands_of_a_claim() -> int:
        stores.redis.config_resetstat()
        claim_due(agenda, now, 10)
        stats = stores.redis.info("commandstats")
        return sum(stat["calls"] for name, stat in stats.items() if name.removeprefix("cmdstat_").startswith("z"))

    schedule(stores, "t a", now, *(f"{number:05d}" for number in range(20)))
    claim_due(agenda, now, 1)  # loads the script
    calls_at_first = commands_of_a_claim()
    schedule(stores, "t a", now, *(f"{number:05d}" for number in range(20, 5_000)))
    assert commands_of_a_claim() == calls_at_first
