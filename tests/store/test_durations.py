"""What is kept of how long jobs took."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.domain.cadence import FADE_ABOVE, Durations, bucket_of
from app.store.durations import MOST_KINDS, SeenDurations
from app.store.engine import keys
from tests.support.duration_counts import with_one_more
from tests.support.manual_clock import ManualClock

SECOND = timedelta(seconds=1)
RETENTION = timedelta(days=14)


@pytest.fixture
def time(now: datetime) -> ManualClock:
    return ManualClock(now)


@pytest.fixture
def seen(stores: Stores, time: ManualClock) -> SeenDurations:
    return SeenDurations(stores.redis, time, retention=RETENTION)


def kept(stores: Stores, operation: str = "") -> dict[int, int]:
    return {int(bucket): int(n) for bucket, n in stores.redis.hgetall(keys.durations("p", operation)).items()}


def test_nothing_is_known_until_enough_jobs_have_ended(stores: Stores, seen: SeenDurations, time: ManualClock) -> None:
    stores.scripts.run(seen.learn("p", None, [6 * SECOND] * 2))
    assert seen.of("p", None) is None
    stores.scripts.run(seen.learn("p", None, [6 * SECOND]))
    time.now += 10 * SECOND
    assert seen.of("p", None) == Durations.from_counts({bucket_of(6 * SECOND): 3})


def test_an_operation_has_its_own_and_adds_to_those_of_the_project(
    stores: Stores, seen: SeenDurations, time: ManualClock
) -> None:
    stores.scripts.run(seen.learn("p", "restart", [6 * SECOND] * 3))
    stores.scripts.run(seen.learn("p", "reset", [300 * SECOND] * 2))
    assert kept(stores, "restart") == {bucket_of(6 * SECOND): 3}
    assert kept(stores) == {bucket_of(6 * SECOND): 3, bucket_of(300 * SECOND): 2}
    assert seen.of("p", "restart") == Durations.from_counts(kept(stores, "restart"))
    assert seen.of("p", "reset") == seen.of("p", None) == seen.of("p", "other") == Durations.from_counts(kept(stores))
    assert seen.of("q", None) is None


@given(st.lists(st.integers(0, 600), min_size=1, max_size=400), st.integers(1, 50))
def test_old_jobs_fade_as_the_rule_says(durations: list[int], at_once: int) -> None:
    runtime = test_old_jobs_fade_as_the_rule_says.runtime
    runtime.stores.redis.delete(keys.durations("p", ""))
    seen = SeenDurations(runtime.stores.redis, runtime.stores.clock, retention=RETENTION)
    expected: dict[int, int] = {}
    for first in range(0, len(durations), at_once):
        some = [seconds * SECOND for seconds in durations[first : first + at_once]]
        runtime.stores.scripts.run(seen.learn("p", None, some))
        for duration in some:
            expected = dict(with_one_more(expected, duration))
    assert kept(runtime.stores) == expected
    assert sum(expected.values()) <= FADE_ABOVE


@pytest.fixture(autouse=True)
def _for_hypothesis(runtime: Runtime) -> None:
    test_old_jobs_fade_as_the_rule_says.runtime = runtime


def test_what_is_not_learned_any_more_is_forgotten(stores: Stores, seen: SeenDurations) -> None:
    stores.scripts.run(seen.learn("p", "restart", [SECOND]))
    assert 0 < stores.redis.ttl(keys.durations("p", "restart")) <= RETENTION.total_seconds()
    assert 0 < stores.redis.ttl(keys.durations("p", "")) <= RETENTION.total_seconds()


def test_a_question_costs_no_look_while_what_is_known_is_fresh(
    stores: Stores, seen: SeenDurations, time: ManualClock
) -> None:
    stores.scripts.run(seen.learn("p", None, [6 * SECOND] * 3))
    first = seen.of("p", None)
    stores.scripts.run(seen.learn("p", None, [60 * SECOND] * 30))
    time.now += 9 * SECOND
    assert seen.of("p", None) is first
    time.now += SECOND
    assert seen.of("p", None) != first


def test_callers_cannot_make_it_remember_without_end(seen: SeenDurations) -> None:
    for number in range(3 * MOST_KINDS):
        seen.of("p", f"operation-{number}")
    assert len(seen._read) <= MOST_KINDS


def test_while_redis_is_away_what_was_known_holds(stores: Stores, seen: SeenDurations, time: ManualClock) -> None:
    stores.scripts.run(seen.learn("p", None, [6 * SECOND] * 3))
    known = seen.of("p", None)
    time.now += 60 * SECOND
    stores.redis.connection_pool.disconnect()
    stores.redis.connection_pool.connection_kwargs["path"] = "/nowhere"
    assert known == seen.of("p", None) != None  # noqa: E711
