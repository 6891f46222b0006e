"""The stored durations of jobs."""

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
def clock(now: datetime) -> ManualClock:
    return ManualClock(now)


@pytest.fixture
def durations(stores: Stores, clock: ManualClock) -> SeenDurations:
    return SeenDurations(stores.redis, clock, retention=RETENTION)


def stored_counts(stores: Stores, operation: str = "") -> dict[int, int]:
    return {int(bucket): int(n) for bucket, n in stores.redis.hgetall(keys.durations("p", operation)).items()}


def test_nothing_is_known_until_enough_jobs_have_ended(
    stores: Stores, durations: SeenDurations, clock: ManualClock
) -> None:
    stores.scripts.run(durations.record("p", None, [6 * SECOND] * 2))
    assert durations.of("p", None) is None
    stores.scripts.run(durations.record("p", None, [6 * SECOND]))
    clock.now += 10 * SECOND
    assert durations.of("p", None) == Durations.from_counts({bucket_of(6 * SECOND): 3})


def test_an_operation_has_its_own_and_adds_to_those_of_the_project(
    stores: Stores, durations: SeenDurations, clock: ManualClock
) -> None:
    stores.scripts.run(durations.record("p", "restart", [6 * SECOND] * 3))
    stores.scripts.run(durations.record("p", "reset", [300 * SECOND] * 2))
    assert stored_counts(stores, "restart") == {bucket_of(6 * SECOND): 3}
    assert stored_counts(stores) == {bucket_of(6 * SECOND): 3, bucket_of(300 * SECOND): 2}
    assert durations.of("p", "restart") == Durations.from_counts(stored_counts(stores, "restart"))
    assert (
        durations.of("p", "reset")
        == durations.of("p", None)
        == durations.of("p", "other")
        == Durations.from_counts(stored_counts(stores))
    )
    assert durations.of("q", None) is None


@given(st.lists(st.integers(0, 600), min_size=1, max_size=400), st.integers(1, 50))
def test_old_jobs_fade_as_the_rule_says(lengths_s: list[int], at_once: int) -> None:
    runtime = test_old_jobs_fade_as_the_rule_says.runtime
    runtime.stores.redis.delete(keys.durations("p", ""))
    durations = SeenDurations(runtime.stores.redis, runtime.stores.clock, retention=RETENTION)
    expected: dict[int, int] = {}
    for first in range(0, len(lengths_s), at_once):
        batch = [seconds * SECOND for seconds in lengths_s[first : first + at_once]]
        runtime.stores.scripts.run(durations.record("p", None, batch))
        for duration in batch:
            expected = dict(with_one_more(expected, duration))
    assert stored_counts(runtime.stores) == expected
    assert sum(expected.values()) <= FADE_ABOVE


@pytest.fixture(autouse=True)
def _runtime_for_hypothesis(runtime: Runtime) -> None:
    """Hypothesis refuses function-scoped fixtures as parameters."""
    test_old_jobs_fade_as_the_rule_says.runtime = runtime


def test_what_is_not_learned_any_more_is_forgotten(stores: Stores, durations: SeenDurations) -> None:
    stores.scripts.run(durations.record("p", "restart", [SECOND]))
    assert 0 < stores.redis.ttl(keys.durations("p", "restart")) <= RETENTION.total_seconds()
    assert 0 < stores.redis.ttl(keys.durations("p", "")) <= RETENTION.total_seconds()


def test_a_question_costs_no_round_trip_while_what_is_known_is_fresh(
    stores: Stores, durations: SeenDurations, clock: ManualClock
) -> None:
    stores.scripts.run(durations.record("p", None, [6 * SECOND] * 3))
    first = durations.of("p", None)
    stores.scripts.run(durations.record("p", None, [60 * SECOND] * 30))
    clock.now += 9 * SECOND
    assert durations.of("p", None) is first
    clock.now += SECOND
    assert durations.of("p", None) != first


def test_callers_cannot_make_it_remember_without_end(durations: SeenDurations) -> None:
    for number in range(3 * MOST_KINDS):
        durations.of("p", f"operation-{number}")
    assert len(durations._read) <= MOST_KINDS


def test_while_redis_is_unavailable_what_was_known_holds(
    stores: Stores, durations: SeenDurations, clock: ManualClock
) -> None:
    stores.scripts.run(durations.record("p", None, [6 * SECOND] * 3))
    known = durations.of("p", None)
    clock.now += 60 * SECOND
    stores.redis.connection_pool.disconnect()
    stores.redis.connection_pool.connection_kwargs["path"] = "/nowhere"
    assert known == durations.of("p", None) != None  # noqa: E711
