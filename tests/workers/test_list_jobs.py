"""Polling by request: one ListJobs call covers all jobs of a request."""

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


def test_one_answer_brings_all_jobs_of_its_request_together(
    poll_worker, run_due, make_watched_job, standin, new_calls, clock
) -> None:
    job_ids = [job["job_id"] for job in standin.jobs(150, duration_s=3600)]
    jobs = [make_watched_job(job_ids[0])]
    run_due(poll_worker)
    jobs += [make_watched_job(job_id) for job_id in job_ids[1:]]
    run_due(poll_worker)
    assert {job.state for job in jobs} == {JobState.RUNNING}
    new_calls()
    for _ in range(3):
        clock.now += SECOND
        run_due(poll_worker)
    assert new_calls() == (0, 6)  # 150 jobs are two pages


def test_a_full_page_is_the_last_one_if_nobody_waits_for_any_other_job(
    poll_worker, run_due, make_watched_job, standin, new_calls, clock
) -> None:
    first, *others = [job["job_id"] for job in standin.jobs(100, duration_s=3600)]
    jobs = [make_watched_job(first)]
    run_due(poll_worker)
    jobs += [make_watched_job(job_id) for job_id in others]
    run_due(poll_worker)
    new_calls()
    clock.now += SECOND
    run_due(poll_worker)
    assert new_calls() == (0, 1)
    assert {job.state for job in jobs} == {JobState.RUNNING}


def test_all_jobs_of_a_request_are_found_behind_a_page_of_those_that_are_known(
    poll_worker, run_due, registration, stores, standin, clock
) -> None:
    made = standin.jobs(150, duration_s=3600)
    request_id = made[0]["request_id"]
    stores.registrations.add(registration(*(job["job_id"] for job in made[:100]), request_id=request_id))
    run_due(poll_worker)
    all_of_them = registration(job_ids=(), request_id=request_id)
    stores.registrations.add(all_of_them)
    clock.now += SECOND
    run_due(poll_worker)
    found = stores.registrations.get("t", all_of_them.id)
    assert found is not None
    assert len(found[1].jobs) == 150


def test_jobs_of_many_requests_are_asked_for_in_one_call(
    poll_worker, run_due, make_watched_job, standin, new_calls, clock
) -> None:
    jobs = [make_watched_job(standin.job(duration_s=3600)["job_id"]) for _ in range(20)]
    run_due(poll_worker)
    run_due(poll_worker)
    new_calls()
    clock.now += SECOND
    run_due(poll_worker)
    assert new_calls() == (0, 1)
    assert {job.state for job in jobs} == {JobState.RUNNING}


def test_the_end_of_a_job_that_was_listed_is_reported_once_with_its_request(
    poll_worker, run_due, make_watched_job, standin, clock, stores: Stores, deliveries_of, caplog
) -> None:
    made = standin.job(duration_s=3600)
    job = make_watched_job(made["job_id"])
    caplog.set_level("INFO", "bridge")
    run_due(poll_worker)
    run_due(poll_worker)
    standin.end(made, outcome="failed")
    clock.now += SECOND
    run_due(poll_worker)
    assert job.events == [EventType.JOB_FAILED]
    (begun,) = stores.deliveries.begin(claim_due(stores.deliveries_due, clock(), 10), clock() + SECOND)
    assert stores.deliveries.decrypt(begun)[1].about.request_id == made["request_id"]
    clock.now += 60 * SECOND
    run_due(poll_worker)
    assert run_due(poll_worker) == 0
    assert not stores.redis.exists(keys.request("default", made["request_id"]))
    assert [record.getMessage() for record in caplog.records].count("job.ended") == 1


def test_a_job_that_its_request_does_not_show_is_asked_for_by_itself_for_ever(
    poll_worker, run_due, make_watched_job, standin, new_calls, clock
) -> None:
    made = standin.job(duration_s=3600)
    job = make_watched_job(made["job_id"])
    run_due(poll_worker)
    standin.job(job_id=made["job_id"], request_id=REQUEST, duration_s=3600)  # moves it to another request
    run_due(poll_worker)
    new_calls()
    for _ in range(4):
        clock.now += 2 * SECOND
        run_due(poll_worker)
    assert new_calls() == (4, 0)
    assert job.state is JobState.RUNNING


def test_a_job_that_goes_missing_from_its_list_is_asked_for_by_itself_before_it_is_lost(
    poll_worker, run_due, make_watched_job, standin, new_calls, clock
) -> None:
    made = standin.job(duration_s=3600)
    job = make_watched_job(made["job_id"])
    run_due(poll_worker)
    run_due(poll_worker)
    standin.job(job_id=made["job_id"], request_id=REQUEST, duration_s=0)
    new_calls()
    clock.now += SECOND
    run_due(poll_worker)
    run_due(poll_worker)
    assert new_calls() == (1, 1)
    assert job.events == [EventType.JOB_SUCCEEDED]


def test_one_request_that_is_gone_harms_no_other(poll_worker, run_due, make_watched_job, standin, clock) -> None:
    made = [standin.job(duration_s=3600) for _ in range(5)]
    jobs = [make_watched_job(each["job_id"]) for each in made]
    run_due(poll_worker)
    run_due(poll_worker)
    standin.job(job_id=made[2]["job_id"], request_id=REQUEST, duration_s=3600)
    for each in (made[0], made[4]):
        standin.end(each)
    clock.now += SECOND
    run_due(poll_worker)
    assert [job.state for job in jobs] == ["succeeded", "running", "running", "running", "succeeded"]


def test_requests_that_are_asked_for_one_by_one_are_left_alone_once_cph_throttles(
    poll_worker, run_due, make_watched_job, standin, new_calls, clock
) -> None:
    made = [standin.job(duration_s=3600) for _ in range(5)]
    jobs = [make_watched_job(each["job_id"]) for each in made]
    run_due(poll_worker)
    run_due(poll_worker)
    standin.job(job_id=made[0]["job_id"], request_id=REQUEST, duration_s=3600)
    standin.order("/_standin/budget", {"calls": 2, "per_s": 3600, "api": "list_jobs"})
    new_calls()
    clock.now += SECOND
    run_due(poll_worker)
    standin.call("DELETE", "/_standin/faults")
    assert new_calls()[1] == 3
    assert {job.state for job in jobs} == {JobState.RUNNING}


@pytest.mark.parametrize("kind", ["error_500", "html", "garbage", "truncated"])
def test_a_list_that_says_nothing_is_waited_out(
    poll_worker, run_due, make_watched_job, standin, clock, kind: str
) -> None:
    made = standin.job(duration_s=3600)
    job = make_watched_job(made["job_id"])
    run_due(poll_worker)
    run_due(poll_worker)
    standin.order("/_standin/faults", {"kind": kind, "times": 1})
    clock.now += SECOND
    run_due(poll_worker)
    assert job.state is JobState.RUNNING
    standin.end(made)
    clock.now += SECOND
    run_due(poll_worker)
    assert job.events == [EventType.JOB_SUCCEEDED]


def test_when_a_list_is_throttled_the_whole_project_waits(
    poll_worker, run_due, make_watched_job, standin, clock
) -> None:
    job = make_watched_job(standin.job(duration_s=3600)["job_id"])
    run_due(poll_worker)
    run_due(poll_worker)
    standin.order("/_standin/faults", {"kind": "throttle", "times": 1})
    clock.now += SECOND
    run_due(poll_worker)
    make_watched_job(standin.job(duration_s=0)["job_id"])
    clock.now += 9 * SECOND
    assert run_due(poll_worker) == 0
    assert job.state is JobState.RUNNING


def test_a_request_that_nobody_waits_for_is_not_asked_for(
    poll_worker, run_due, make_watched_job, standin, new_calls, clock, stores: Stores
) -> None:
    job = make_watched_job(standin.job(duration_s=3600)["job_id"])
    run_due(poll_worker)
    run_due(poll_worker)
    stores.registrations.cancel("t", job.registration.id)
    new_calls()
    clock.now += SECOND
    run_due(poll_worker)
    clock.now += 60 * SECOND
    assert run_due(poll_worker) == 0
    assert new_calls() == (0, 0)
    assert stores.redis.keys("cph:request:*") == []


def test_the_budget_counts_calls_and_not_requests(
    poll_worker, run_due, make_watched_job, standin, clock, stores: Stores
) -> None:
    for _ in range(20):
        make_watched_job(standin.job(duration_s=3600)["job_id"])
    run_due(poll_worker)
    run_due(poll_worker)
    clock.now += SECOND
    run_due(poll_worker)
    assert float(stores.redis.hget(keys.lane("poll", "default"), "tokens")) == 1000 - 1


def test_without_the_permission_to_list_jobs_are_asked_for_by_their_ids(
    poll_worker, run_due, make_watched_job, registration, stores: Stores, standin: Served, new_calls, clock
) -> None:
    made = standin.jobs(3, duration_s=3600)
    jobs = [make_watched_job(job["job_id"]) for job in made]
    all_of_them = registration(request_id=made[0]["request_id"], job_ids=())
    stores.registrations.add(all_of_them)
    standin.order("/_standin/faults", {"kind": "forbidden", "api": "list_jobs", "times": None})
    for _ in range(3):
        run_due(poll_worker)
    new_calls()
    for job in made:
        standin.end(job)
    clock.now += 2 * SECOND
    run_due(poll_worker)
    assert new_calls() == (3, 0)
    assert [job.state for job in jobs] == ["succeeded"] * 3
    clock.now += 60 * SECOND
    run_due(poll_worker)
    found = stores.registrations.get("t", all_of_them.id)
    assert found is not None
    assert found[1].state == "watching"  # without ListJobs the bridge cannot know that it has no jobs
    standin.call("DELETE", "/_standin/faults")
    clock.now += 60 * SECOND
    run_due(poll_worker)
    found = stores.registrations.get("t", all_of_them.id)
    assert found is not None
    assert set(found[1].jobs.values()) == {JobState.SUCCEEDED}
