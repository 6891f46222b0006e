"""Jobs of one request are asked for together."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from app.domain.event import EventType
from app.domain.job import JobState
from app.runtime import Runtime
from app.settings import Settings, load
from app.store import keys
from tests.served import Served

SECOND = timedelta(seconds=1)
REQUEST = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load(environment | {"BRIDGE_CPH_RATE": "1000"})


@pytest.fixture
def calls(standin: Served) -> Callable[[], tuple[int, int]]:
    """How many ShowJob and ListJobs there were since the last look."""
    last = {"show_job": 0, "list_jobs": 0}

    def since() -> tuple[int, int]:
        nonlocal last
        before, last = last, standin.call("GET", "/_standin/calls").json()
        return last["show_job"] - before["show_job"], last["list_jobs"] - before["list_jobs"]

    since()
    return since


def of_one_request(standin: Served, count: int, **script: Any) -> list[str]:
    """Jobs of one request of their own."""
    first = standin.job(**script)
    rest = [{"request_id": first["request_id"]} | script for _ in range(count - 1)]
    others = standin.order("/_standin/jobs", rest)["jobs"] if rest else []
    return [first["job_id"], *(job["job_id"] for job in others)]


def test_one_answer_brings_all_jobs_of_its_request_together(polling, turn, watched, standin, calls, time) -> None:
    job_ids = of_one_request(standin, 150, duration_s=3600)
    jobs = [watched(job_ids[0])]
    turn(polling)
    jobs += [watched(job_id) for job_id in job_ids[1:]]
    turn(polling)
    assert {job.state for job in jobs} == {JobState.RUNNING}
    calls()
    for _ in range(3):
        time.now += SECOND
        turn(polling)
    assert calls() == (0, 6)  # 150 jobs are two pages


def test_jobs_of_many_requests_are_asked_for_in_one_call(polling, turn, watched, standin, calls, time) -> None:
    jobs = [watched(standin.job(duration_s=3600)["job_id"]) for _ in range(20)]
    turn(polling)
    turn(polling)
    calls()
    time.now += SECOND
    turn(polling)
    assert calls() == (0, 1)
    assert {job.state for job in jobs} == {JobState.RUNNING}


def test_the_end_of_a_job_that_was_listed_is_told_once_with_its_request(
    polling, turn, watched, standin, time, runtime: Runtime, deliveries_of
) -> None:
    made = standin.job(duration_s=3600)
    job = watched(made["job_id"])
    turn(polling)
    turn(polling)
    standin.job(job_id=made["job_id"], request_id=made["request_id"], duration_s=0, outcome="failed")
    time.now += SECOND
    turn(polling)
    assert job.events == [EventType.JOB_FAILED]
    (begun,) = runtime.deliveries.begin(runtime.deliveries_due.claim_due(time(), 10).items, time() + SECOND)
    assert runtime.deliveries.open(begun)[1].job.request_id == made["request_id"]
    time.now += 60 * SECOND
    turn(polling)
    assert turn(polling) == 0
    assert not runtime.redis.exists(keys.request("default", made["request_id"]))


def test_a_job_that_its_request_does_not_show_is_asked_for_by_itself_for_ever(
    polling, turn, watched, standin, calls, time
) -> None:
    made = standin.job(duration_s=3600)
    job = watched(made["job_id"])
    turn(polling)
    standin.job(job_id=made["job_id"], request_id=REQUEST, duration_s=3600)  # so its first request has it no more
    turn(polling)
    calls()
    for _ in range(4):
        time.now += 2 * SECOND
        turn(polling)
    assert calls() == (4, 0)
    assert job.state is JobState.RUNNING


def test_a_job_that_goes_missing_from_its_list_is_asked_for_by_itself_before_it_is_lost(
    polling, turn, watched, standin, calls, time
) -> None:
    made = standin.job(duration_s=3600)
    job = watched(made["job_id"])
    turn(polling)
    turn(polling)
    standin.job(job_id=made["job_id"], request_id=REQUEST, duration_s=0)
    calls()
    time.now += SECOND
    turn(polling)
    turn(polling)
    assert calls() == (1, 1)
    assert job.events == [EventType.JOB_SUCCEEDED]


def test_one_request_that_is_gone_harms_no_other(polling, turn, watched, standin, time) -> None:
    made = [standin.job(duration_s=3600) for _ in range(5)]
    jobs = [watched(each["job_id"]) for each in made]
    turn(polling)
    turn(polling)
    standin.job(job_id=made[2]["job_id"], request_id=REQUEST, duration_s=3600)
    for each in (made[0], made[4]):
        standin.job(job_id=each["job_id"], request_id=each["request_id"], duration_s=0)
    time.now += SECOND
    turn(polling)
    assert [job.state for job in jobs] == ["succeeded", "running", "running", "running", "succeeded"]


@pytest.mark.parametrize("kind", ["error_500", "html", "garbage", "truncated"])
def test_a_list_that_says_nothing_is_waited_out(polling, turn, watched, standin, time, kind: str) -> None:
    made = standin.job(duration_s=3600)
    job = watched(made["job_id"])
    turn(polling)
    turn(polling)
    standin.order("/_standin/faults", {"kind": kind, "times": 1})
    time.now += SECOND
    turn(polling)
    assert job.state is JobState.RUNNING
    standin.job(job_id=made["job_id"], request_id=made["request_id"], duration_s=0)
    time.now += SECOND
    turn(polling)
    assert job.events == [EventType.JOB_SUCCEEDED]


def test_when_a_list_is_throttled_the_whole_project_waits(polling, turn, watched, standin, time) -> None:
    job = watched(standin.job(duration_s=3600)["job_id"])
    turn(polling)
    turn(polling)
    standin.order("/_standin/faults", {"kind": "throttle", "times": 1})
    time.now += SECOND
    turn(polling)
    watched(standin.job(duration_s=0)["job_id"])
    time.now += 9 * SECOND
    assert turn(polling) == 0
    assert job.state is JobState.RUNNING


def test_a_request_that_nobody_waits_for_is_not_asked_for(
    polling, turn, watched, standin, calls, time, runtime: Runtime
) -> None:
    job = watched(standin.job(duration_s=3600)["job_id"])
    turn(polling)
    turn(polling)
    runtime.registrations.cancel("t", job.registration.id)
    calls()
    time.now += SECOND
    turn(polling)
    time.now += 60 * SECOND
    assert turn(polling) == 0
    assert calls() == (0, 0)
    assert runtime.redis.keys("cph:request:*") == []


def test_the_budget_counts_calls_and_not_requests(polling, turn, watched, standin, time, runtime: Runtime) -> None:
    for _ in range(20):
        watched(standin.job(duration_s=3600)["job_id"])
    turn(polling)
    turn(polling)
    time.now += SECOND
    turn(polling)
    assert float(runtime.redis.hget(keys.lane("poll", "default"), "tokens")) == 1000 - 1
