"""The cadence adapts to the recorded durations of similar jobs."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.domain.cadence import bucket_of
from app.domain.times import rfc3339
from app.store.engine import keys
from tests.support.served import Served

SECOND = timedelta(seconds=1)


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load(environment | {"BRIDGE_CPH_RATE": "1000"})


@pytest.fixture
def call_count(poll_worker, run_due, clock, standin: Served, make_watched_job) -> Callable[..., int]:
    """Watches a job that takes `seconds`. Returns the number of calls that this costs."""

    def watch(seconds: int, **metadata: str) -> int:
        job = standin.job(duration_s=3600, request_id="")
        make_watched_job(job["job_id"], at=clock.now, deadline_at=clock.now + timedelta(hours=2), metadata=metadata)
        calls = 0
        for second in range(seconds + 60):
            if second == seconds:
                standin.end(job, end_time=rfc3339(clock.now))
            calls += run_due(poll_worker)
            clock.now += SECOND
        return calls

    return watch


def recorded_buckets(stores: Stores, operation: str = "") -> set[int]:
    """Returns the histogram buckets that have counts."""
    return {int(bucket) for bucket in stores.redis.hkeys(keys.durations("default", operation))}


def test_after_some_jobs_of_half_a_minute_the_next_costs_fewer_calls(call_count, stores: Stores) -> None:
    first = call_count(30)
    for _ in range(10):
        call_count(30)
    assert recorded_buckets(stores) == {bucket_of(30 * SECOND)}
    assert call_count(30) <= first / 2


def test_jobs_of_an_operation_are_learned_by_themselves(call_count, stores: Stores) -> None:
    for _ in range(3):
        call_count(6, operation="restart")
        call_count(60, operation="reset")
    assert recorded_buckets(stores, "restart") == {bucket_of(6 * SECOND)}
    assert recorded_buckets(stores, "reset") == {bucket_of(60 * SECOND)}
    assert recorded_buckets(stores) == {bucket_of(6 * SECOND), bucket_of(60 * SECOND)}


def test_what_had_ended_before_or_was_never_seen_running_teaches_nothing(
    make_watched_job, run_due, poll_worker, stores: Stores, standin: Served, clock
) -> None:
    make_watched_job(standin.job(duration_s=0, end_time=rfc3339(clock.now + SECOND))["job_id"])
    run_due(poll_worker)
    running = standin.job(duration_s=3600, request_id="")
    job = make_watched_job(running["job_id"])
    run_due(poll_worker)
    clock.now += SECOND
    standin.end(running, end_time="2019-04-26T07:00:06Z")
    run_due(poll_worker)
    assert job.state.ended
    assert recorded_buckets(stores) == set()


def test_jobs_that_their_request_shows_teach_as_well(
    make_watched_job, run_due, poll_worker, stores: Stores, standin: Served, clock
) -> None:
    jobs = standin.jobs(3, duration_s=3600)
    for job in jobs:
        make_watched_job(job["job_id"])
    run_due(poll_worker)
    run_due(poll_worker)
    clock.now += 6 * SECOND
    for job in jobs:
        standin.end(job, end_time=rfc3339(clock.now))
    run_due(poll_worker)
    assert recorded_buckets(stores) == {bucket_of(6 * SECOND)}
