"""Asking when the end is likely, as those that have ended have taught."""

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
def calls_for(polling, turn, time, standin: Served, watched) -> Callable[..., int]:
    """Watches a job that takes so many seconds; how many calls that costs."""

    def watch(seconds: int, **metadata: str) -> int:
        job = standin.job(duration_s=3600, request_id="")
        watched(job["job_id"], at=time.now, deadline_at=time.now + timedelta(hours=2), metadata=metadata)
        calls = 0
        for second in range(seconds + 60):
            if second == seconds:
                standin.end(job, end_time=rfc3339(time.now))
            calls += turn(polling)
            time.now += SECOND
        return calls

    return watch


def kept(stores: Stores, operation: str = "") -> set[int]:
    """The buckets in which jobs were counted."""
    return {int(bucket) for bucket in stores.redis.hkeys(keys.durations("default", operation))}


def test_after_some_jobs_of_half_a_minute_the_next_costs_fewer_calls(calls_for, stores: Stores) -> None:
    first = calls_for(30)
    for _ in range(10):
        calls_for(30)
    assert kept(stores) == {bucket_of(30 * SECOND)}
    assert calls_for(30) <= first / 2


def test_jobs_of_an_operation_are_learned_by_themselves(calls_for, stores: Stores) -> None:
    for _ in range(3):
        calls_for(6, operation="restart")
        calls_for(60, operation="reset")
    assert kept(stores, "restart") == {bucket_of(6 * SECOND)}
    assert kept(stores, "reset") == {bucket_of(60 * SECOND)}
    assert kept(stores) == {bucket_of(6 * SECOND), bucket_of(60 * SECOND)}


def test_what_had_ended_before_or_was_never_seen_running_teaches_nothing(
    watched, turn, polling, stores: Stores, standin: Served, time
) -> None:
    watched(standin.job(duration_s=0, end_time=rfc3339(time.now + SECOND))["job_id"])
    turn(polling)
    running = standin.job(duration_s=3600, request_id="")
    job = watched(running["job_id"])
    turn(polling)
    time.now += SECOND
    standin.end(running, end_time="2019-04-26T07:00:06Z")
    turn(polling)
    assert job.state.ended
    assert kept(stores) == set()


def test_jobs_that_their_request_shows_teach_as_well(
    watched, turn, polling, stores: Stores, standin: Served, time
) -> None:
    jobs = standin.jobs(3, duration_s=3600)
    for job in jobs:
        watched(job["job_id"])
    turn(polling)
    turn(polling)
    time.now += 6 * SECOND
    for job in jobs:
        standin.end(job, end_time=rfc3339(time.now))
    turn(polling)
    assert kept(stores) == {bucket_of(6 * SECOND)}
