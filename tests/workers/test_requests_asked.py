"""A request is polled exactly as long as a registration waits for its jobs."""

from datetime import timedelta

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.domain.job import Job, JobState
from tests.support.claims import claim_due
from tests.support.served import Served

SECOND = timedelta(seconds=1)


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load(environment | {"BRIDGE_CPH_RATE": "1000"})


def test_a_request_is_left_alone_once_a_job_that_was_first_registered_by_its_id_has_ended(
    stores: Stores, registration, make_watched_job, poll_rounds, standin: Served, new_calls
) -> None:
    job = standin.job(duration_s=0)
    make_watched_job(job["job_id"])
    stores.registrations.add(registration(job["job_id"], request_id=job["request_id"]))
    poll_rounds(3)
    new_calls()
    poll_rounds(10)
    assert new_calls() == (0, 0)
    assert stores.redis.keys("cph:request:*") == []


def test_jobs_of_a_request_that_somebody_watches_are_asked_for_by_their_ids_where_none_may_be_listed(
    registration, stores: Stores, make_request_registration, poll_rounds, standin: Served
) -> None:
    job = standin.job(duration_s=0)
    make_request_registration(job["request_id"])
    made = registration(job["job_id"], request_id=job["request_id"])
    stores.registrations.add(made)
    standin.order("/_standin/faults", {"kind": "forbidden", "api": "list_jobs", "times": None})
    poll_rounds(5)
    found = stores.registrations.get("t", made.id)
    assert found is not None
    assert found[1].jobs == {job["job_id"]: JobState.SUCCEEDED}


def test_what_a_slow_list_shows_is_asked_for_although_others_have_given_the_request_up(
    runtime: Runtime, make_watched_job, make_request_registration, poll_rounds, clock, poll_worker, standin: Served
) -> None:
    job = standin.job(duration_s=3600)
    made = make_request_registration(job["request_id"])
    (slow,) = poll_worker.prepare(claim_due(runtime.stores.polls_due, clock(), 10))
    clock.now += runtime.settings.lease
    runtime.stores.registrations.cancel("t", made.id)
    poll_rounds(2)
    late = make_watched_job(job["job_id"])
    runtime.stores.scripts.run_all(poll_worker.do(slow))
    standin.end(job)
    poll_rounds(3)
    assert late.state is JobState.SUCCEEDED


def test_a_job_that_has_ended_needs_no_call_when_its_request_is_named(
    stores: Stores, registration, make_watched_job, poll_rounds, standin: Served, new_calls
) -> None:
    job = standin.job(duration_s=0)
    make_watched_job(job["job_id"])
    poll_rounds(3)
    new_calls()
    stores.registrations.add(registration(job["job_id"], request_id=job["request_id"]))
    poll_rounds(3)
    assert new_calls() == (0, 0)


def test_a_submission_of_which_nothing_is_to_be_watched_leaves_no_request_behind(
    stores: Stores, registration, request_id: str
) -> None:
    ended_job = Job("a", JobState.SUCCEEDED, status=2)
    stores.registrations.add(
        registration(job_ids=(), ended=(ended_job,), request_id=request_id, metadata={"operation": "restart"})
    )
    assert stores.redis.keys("cph:request:*") == []
