"""Jobs of one request are asked for together."""

from datetime import timedelta

import pytest

from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.domain.event import EventType
from app.domain.job import JobState
from app.store.engine import keys
from tests.support.claims import claim_due
from tests.support.served import Served

SECOND = timedelta(seconds=1)
REQUEST = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load(environment | {"BRIDGE_CPH_RATE": "1000"})


def test_one_answer_brings_all_jobs_of_its_request_together(polling, turn, watched, standin, calls, time) -> None:
    job_ids = [job["job_id"] for job in standin.jobs(150, duration_s=3600)]
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


def test_a_full_page_is_the_last_one_if_nobody_waits_for_any_other_job(
    polling, turn, watched, standin, calls, time
) -> None:
    first, *others = [job["job_id"] for job in standin.jobs(100, duration_s=3600)]
    jobs = [watched(first)]
    turn(polling)
    jobs += [watched(job_id) for job_id in others]
    turn(polling)
    calls()
    time.now += SECOND
    turn(polling)
    assert calls() == (0, 1)
    assert {job.state for job in jobs} == {JobState.RUNNING}


def test_all_jobs_of_a_request_are_found_behind_a_page_of_those_that_are_known(
    polling, turn, registration, stores, standin, time
) -> None:
    made = standin.jobs(150, duration_s=3600)
    request_id = made[0]["request_id"]
    stores.registrations.add(registration(*(job["job_id"] for job in made[:100]), request_id=request_id))
    turn(polling)
    looked_for = registration(job_ids=(), request_id=request_id)
    stores.registrations.add(looked_for)
    time.now += SECOND
    turn(polling)
    found = stores.registrations.get("t", looked_for.id)
    assert found is not None
    assert len(found[1].jobs) == 150


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
    polling, turn, watched, standin, time, stores: Stores, deliveries_of, caplog
) -> None:
    made = standin.job(duration_s=3600)
    job = watched(made["job_id"])
    caplog.set_level("INFO", "bridge")
    turn(polling)
    turn(polling)
    standin.end(made, outcome="failed")
    time.now += SECOND
    turn(polling)
    assert job.events == [EventType.JOB_FAILED]
    (begun,) = stores.deliveries.begin(claim_due(stores.deliveries_due, time(), 10), time() + SECOND)
    assert stores.deliveries.decrypt(begun)[1].about.request_id == made["request_id"]
    time.now += 60 * SECOND
    turn(polling)
    assert turn(polling) == 0
    assert not stores.redis.exists(keys.request("default", made["request_id"]))
    assert [record.getMessage() for record in caplog.records].count("job.ended") == 1


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
        standin.end(each)
    time.now += SECOND
    turn(polling)
    assert [job.state for job in jobs] == ["succeeded", "running", "running", "running", "succeeded"]


def test_requests_that_are_asked_for_one_by_one_are_left_alone_once_cph_throttles(
    polling, turn, watched, standin, calls, time
) -> None:
    made = [standin.job(duration_s=3600) for _ in range(5)]
    jobs = [watched(each["job_id"]) for each in made]
    turn(polling)
    turn(polling)
    standin.job(job_id=made[0]["job_id"], request_id=REQUEST, duration_s=3600)
    standin.order("/_standin/budget", {"calls": 2, "per_s": 3600, "api": "list_jobs"})
    calls()
    time.now += SECOND
    turn(polling)
    standin.call("DELETE", "/_standin/faults")
    assert calls()[1] == 3
    assert {job.state for job in jobs} == {JobState.RUNNING}


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
    standin.end(made)
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
    polling, turn, watched, standin, calls, time, stores: Stores
) -> None:
    job = watched(standin.job(duration_s=3600)["job_id"])
    turn(polling)
    turn(polling)
    stores.registrations.cancel("t", job.registration.id)
    calls()
    time.now += SECOND
    turn(polling)
    time.now += 60 * SECOND
    assert turn(polling) == 0
    assert calls() == (0, 0)
    assert stores.redis.keys("cph:request:*") == []


def test_the_budget_counts_calls_and_not_requests(polling, turn, watched, standin, time, stores: Stores) -> None:
    for _ in range(20):
        watched(standin.job(duration_s=3600)["job_id"])
    turn(polling)
    turn(polling)
    time.now += SECOND
    turn(polling)
    assert float(stores.redis.hget(keys.lane("poll", "default"), "tokens")) == 1000 - 1


def test_without_the_permission_to_list_jobs_are_asked_for_by_their_ids(
    polling, turn, watched, registration, stores: Stores, standin: Served, calls, time
) -> None:
    made = standin.jobs(3, duration_s=3600)
    jobs = [watched(job["job_id"]) for job in made]
    all_of_them = registration(request_id=made[0]["request_id"], job_ids=())
    stores.registrations.add(all_of_them)
    standin.order("/_standin/faults", {"kind": "forbidden", "api": "list_jobs", "times": None})
    for _ in range(3):
        turn(polling)
    calls()
    for job in made:
        standin.end(job)
    time.now += 2 * SECOND
    turn(polling)
    assert calls() == (3, 0)
    assert [job.state for job in jobs] == ["succeeded"] * 3
    time.now += 60 * SECOND
    turn(polling)
    found = stores.registrations.get("t", all_of_them.id)
    assert found is not None
    assert found[1].state == "watching"  # that it has no jobs cannot be said
    standin.call("DELETE", "/_standin/faults")
    time.now += 60 * SECOND
    turn(polling)
    found = stores.registrations.get("t", all_of_them.id)
    assert found is not None
    assert set(found[1].jobs.values()) == {JobState.SUCCEEDED}
