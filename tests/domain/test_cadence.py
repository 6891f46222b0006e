"""The time until a job's next poll."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.cadence import (
    BUCKETS,
    EDGES,
    FADE_ABOVE,
    MIN_JOBS,
    SHARE,
    Cadence,
    Durations,
    bucket_of,
    observed_duration,
    unknown_wait,
)
from tests.bench.cadence import CEILING, SAMPLES, SLOW, compare, jobs
from tests.support.duration_counts import with_one_more

SECOND = timedelta(seconds=1)
USUAL = Cadence(SECOND, CEILING)
ROUNDING = timedelta(microseconds=2)

ages = st.timedeltas(timedelta(days=-1), timedelta(days=8))
bounds = st.lists(st.timedeltas(timedelta(milliseconds=50), timedelta(minutes=5)), min_size=2, max_size=2).map(sorted)
costs = st.timedeltas(timedelta(milliseconds=1), timedelta(hours=1))
histograms = st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(0, 60)).filter(
    lambda counts: sum(counts.values()) >= MIN_JOBS
)
known = histograms.map(Durations.from_counts)


def histogram(*durations_s: float, counts: Mapping[int, int] | None = None) -> Mapping[int, int]:
    counts = counts or {}
    for seconds in durations_s:
        counts = with_one_more(counts, timedelta(seconds=seconds))
    return counts


def simulate_polls(duration: timedelta, cadence: Cadence, durations: Durations | None) -> tuple[int, timedelta]:
    """Returns the number of calls until the end of a job is seen, and how late it is seen."""
    age, calls = timedelta(), 1
    while age < duration:
        age += cadence.wait(age, durations)
        calls += 1
    return calls, age - duration


@given(age=ages, bounds=bounds, durations=known | st.none(), cost=costs)
def test_a_wait_is_never_below_its_floor(
    age: timedelta, bounds: list[timedelta], durations: Durations | None, cost: timedelta
) -> None:
    assert Cadence(*bounds, cost).wait(age, durations) >= bounds[0]


@given(age=ages, bounds=bounds, durations=known | st.none(), cost=costs)
def test_a_wait_is_never_above_its_ceiling(
    age: timedelta, bounds: list[timedelta], durations: Durations | None, cost: timedelta
) -> None:
    assert Cadence(*bounds, cost).wait(age, durations) <= bounds[1]


@given(age=ages, bounds=bounds)
def test_where_nothing_is_known_a_wait_is_never_longer_than_its_share_of_the_age_beyond_the_floor(
    age: timedelta, bounds: list[timedelta]
) -> None:
    assert Cadence(*bounds).wait(age) <= max(age * SHARE, bounds[0])


@given(ages=st.lists(ages, min_size=2, max_size=2).map(sorted), bounds=bounds)
def test_where_nothing_is_known_an_older_job_is_never_asked_for_more_often(
    ages: list[timedelta], bounds: list[timedelta]
) -> None:
    cadence = Cadence(*bounds)
    assert cadence.wait(ages[0]) <= cadence.wait(ages[1])


@given(ages=st.lists(ages, min_size=2, max_size=2).map(sorted), bounds=bounds, durations=known, cost=costs)
def test_of_two_jobs_the_one_asked_for_later_is_not_asked_for_again_before_the_other(
    ages: list[timedelta], bounds: list[timedelta], durations: Durations, cost: timedelta
) -> None:
    cadence = Cadence(*bounds, cost)
    assert ages[0] + cadence.wait(ages[0], durations) <= ages[1] + cadence.wait(ages[1], durations) + ROUNDING


@given(age=ages, bounds=bounds, durations=known, costs=st.lists(costs, min_size=2, max_size=2).map(sorted))
def test_a_dearer_call_is_never_made_earlier(
    age: timedelta, bounds: list[timedelta], durations: Durations, costs: list[timedelta]
) -> None:
    cheap, dear = (Cadence(*bounds, cost).wait(age, durations) for cost in costs)
    assert cheap <= dear + ROUNDING


@given(usual=st.timedeltas(SECOND, timedelta(hours=1)), unknown_for=ages)
def test_a_job_that_is_unknown_is_never_asked_for_more_often_than_usual(
    usual: timedelta, unknown_for: timedelta
) -> None:
    assert usual <= unknown_wait(usual, unknown_for) <= max(usual, timedelta(minutes=5))


@pytest.mark.parametrize(("unknown_s", "wait_s"), [(0, 3), (29.9, 3), (30, 15), (60, 30), (600, 300), (100_000, 300)])
def test_a_job_that_stays_unknown_is_asked_for_ever_more_seldom(unknown_s: float, wait_s: float) -> None:
    assert unknown_wait(3 * SECOND, unknown_s * SECOND) == wait_s * SECOND


@given(counts=st.dictionaries(st.integers(0, BUCKETS - 1), st.just(1), max_size=MIN_JOBS - 1))
def test_a_few_jobs_are_not_believed(counts: dict[int, int]) -> None:
    assert Durations.from_counts(counts) is None


def test_it_asks_when_the_end_is_likely_and_seldom_before() -> None:
    durations = Durations.from_counts(histogram(*[29, 30, 31] * 20))
    first = USUAL.wait(timedelta(), durations)
    assert 20 * SECOND < first <= 30 * SECOND
    assert USUAL.wait(30 * SECOND, durations) < 5 * SECOND


def test_a_job_that_outlived_the_others_is_judged_by_those_that_did_too() -> None:
    durations = Durations.from_counts(histogram(*[30] * 60, *[300] * 6))
    assert USUAL.wait(270 * SECOND, durations) < 15 * SECOND


def test_a_job_that_outlived_all_others_is_asked_for_all_the_same() -> None:
    cadence = Cadence(SECOND, timedelta(days=1))
    durations = Durations.from_counts(histogram(*[30] * 60))
    assert 30 * SECOND < cadence.wait(2_000 * SECOND, durations) < 200 * SECOND


@pytest.mark.parametrize("age_s", [9_000, 100_000])
def test_past_its_table_it_is_the_rule_of_those_who_know_nothing(age_s: int) -> None:
    cadence = Cadence(SECOND, timedelta(days=1))
    durations = Durations.from_counts(histogram(*[30] * 20))
    age = timedelta(seconds=age_s)
    assert abs(cadence.wait(age, durations) - cadence.wait(age)) < ROUNDING


def test_one_odd_job_among_many_costs_the_others_next_to_nothing() -> None:
    usual, odd = histogram(*[30] * 60), histogram(*[30] * 60, 6)
    duration = 30 * SECOND
    calls, delay = simulate_polls(duration, USUAL, Durations.from_counts(usual))
    odd_calls, odd_delay = simulate_polls(duration, USUAL, Durations.from_counts(odd))
    assert odd_calls <= calls + 1
    assert odd_delay <= delay + SECOND


def test_a_new_usual_duration_is_noticed_within_a_few_jobs() -> None:
    counts = histogram(*jobs(SAMPLES["30 s"], 500, seed=1))
    delays_s = []
    for duration_s in jobs(SAMPLES["6 s"], 40, seed=1):
        duration = timedelta(seconds=duration_s)
        delays_s.append(simulate_polls(duration, USUAL, Durations.from_counts(counts))[1].total_seconds())
        counts = with_one_more(counts, duration)
    assert max(delays_s) <= CEILING.total_seconds()
    assert fmean(delays_s[:3]) > 6  # the cadence still expects 30 s
    assert fmean(delays_s[10:]) < 6


@given(st.timedeltas(timedelta(days=-1), timedelta(days=8)))
def test_a_duration_is_counted_between_the_edges_of_its_bucket(duration: timedelta) -> None:
    bucket = bucket_of(duration)
    assert EDGES[bucket] * SECOND <= max(duration, timedelta()) or bucket == 0
    assert duration < EDGES[bucket + 1] * SECOND or bucket == BUCKETS - 1


@given(st.lists(st.floats(0, 20_000), max_size=400))
def test_a_histogram_stays_small(durations_s: list[float]) -> None:
    counts = histogram(*durations_s)
    assert sum(counts.values()) <= FADE_ABOVE
    assert set(counts) <= set(range(BUCKETS))


def test_what_is_old_fades() -> None:
    counts = histogram(*[30] * FADE_ABOVE, *[6] * 2 * FADE_ABOVE)
    assert counts[bucket_of(6 * SECOND)] > 9 * counts.get(bucket_of(30 * SECOND), 0)


def test_what_was_seen_once_is_forgotten_when_the_old_fades() -> None:
    assert bucket_of(600 * SECOND) not in histogram(600, *[30] * FADE_ABOVE)


def test_it_asks_less_than_every_ten_seconds_at_the_same_delay() -> None:
    (comparison,), _ = compare(SLOW, jobs(SAMPLES["30 s"], 200, seed=1))
    assert comparison.won
    assert comparison.ours.calls < 0.75 * comparison.theirs.calls


def test_a_job_lasted_from_when_it_was_registered_until_cph_says_it_ended() -> None:
    since = datetime(2026, 1, 2, tzinfo=UTC)
    noticed = since + timedelta(seconds=9)
    assert observed_duration(since, since + timedelta(seconds=6), noticed) == timedelta(seconds=6)
    assert observed_duration(since, None, noticed) == timedelta(seconds=9)
    assert observed_duration(since, since + timedelta(hours=1), noticed) == timedelta(seconds=9)
    assert observed_duration(since, since - timedelta(seconds=1), noticed) is None
