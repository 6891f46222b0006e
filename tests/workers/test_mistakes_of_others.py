"""Bugs of other CPH clients that the bridge must not have, tested from the registration to the event."""

from datetime import timedelta
from time import monotonic

import pytest

from app.config.settings import Settings, load
from app.domain.event import EventType
from app.domain.job import JobState
from tests.support.claims import claim_due
from tests.support.served import Served

SECOND = timedelta(seconds=1)


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load(environment | {"BRIDGE_CPH_RATE": "1000"})


def test_a_status_that_is_neither_running_nor_failed_is_not_taken_for_success(
    make_watched_job, poll_rounds, standin: Served, deliveries_of
) -> None:
    job = make_watched_job(standin.job(duration_s=3600)["job_id"])
    standin.order("/_standin/faults", {"kind": "unknown_status", "times": None})
    poll_rounds(30)
    assert job.state is JobState.RUNNING
    assert deliveries_of() == []


def test_an_empty_list_is_not_taken_for_success(make_watched_job, poll_rounds, standin: Served, clock) -> None:
    made = standin.job(duration_s=3600)
    job = make_watched_job(made["job_id"])
    poll_rounds(3)
    standin.job(job_id=made["job_id"], duration_s=0, outcome="failed")  # so its first request is empty
    poll_rounds(5)
    assert job.events == [EventType.JOB_FAILED]


def test_a_job_behind_the_first_hundred_of_its_request_is_found(
    make_watched_job, poll_rounds, standin: Served, new_calls
) -> None:
    *_, last = standin.jobs(250, duration_s=3600)
    job = make_watched_job(last["job_id"])
    poll_rounds(2)
    new_calls()
    standin.end(last)
    poll_rounds(3)
    assert job.events == [EventType.JOB_SUCCEEDED]
    assert new_calls()[0] == 0


def test_an_answer_about_another_job_is_not_believed(
    make_watched_job, poll_rounds, standin: Served, deliveries_of
) -> None:
    job = make_watched_job(standin.job(duration_s=0)["job_id"])
    standin.order("/_standin/faults", {"kind": "wrong_job_id", "times": 2})
    poll_rounds(1)
    assert deliveries_of() == []
    poll_rounds(10)
    assert job.events == [EventType.JOB_SUCCEEDED]


def test_the_jobs_of_another_call_are_not_waited_for(stores, registration, poll_rounds, standin: Served, deliveries_of):
    mine, others = standin.job(duration_s=0), standin.job(duration_s=3600)
    stores.registrations.add(registration(request_id=mine["request_id"], job_ids=()))
    poll_rounds(50)
    assert [delivery.job_id for delivery in deliveries_of()] == [mine["job_id"]] != [others["job_id"]]


def test_a_job_that_failed_is_not_waited_for_until_the_deadline(make_watched_job, poll_rounds, standin: Served) -> None:
    job = make_watched_job(standin.job(duration_s=2, outcome="failed")["job_id"])
    standin.order("/_standin/faults", {"kind": "error_500"})
    standin.end({"job_id": job.job_id, "request_id": "r"}, outcome="failed")
    poll_rounds(10)
    assert job.events == [EventType.JOB_FAILED]


def test_what_cph_says_of_a_failure_is_passed_on(stores, make_watched_job, poll_rounds, standin: Served, clock) -> None:
    make_watched_job(
        standin.job(duration_s=0, outcome="failed", error_code="CPS.0005", error_msg="No space left.")["job_id"]
    )
    poll_rounds(1)
    (begun,) = stores.deliveries.begin(claim_due(stores.deliveries_due, clock(), 1), clock() + SECOND)
    about = stores.deliveries.decrypt(begun)[1].about
    assert (about.error_code, about.error_msg) == ("CPS.0005", "No space left.")


def test_what_cph_says_when_it_refuses_is_kept_for_the_operator(
    stores, make_watched_job, poll_rounds, standin: Served
) -> None:
    make_watched_job(standin.job(duration_s=0)["job_id"])
    standin.order("/_standin/faults", {"kind": "forbidden"})
    poll_rounds(1)
    (health,) = stores.project_healths.of(["default"])
    assert health.failure is not None
    assert health.failure.startswith("HTTP 403 CPS.0001: You do not have the permission. (request ")


def test_a_worker_does_not_sleep_when_cph_throttles(make_watched_job, poll_rounds, standin: Served) -> None:
    job = make_watched_job(standin.job(duration_s=0)["job_id"])
    standin.order("/_standin/faults", {"kind": "throttle"})
    began = monotonic()
    poll_rounds(120)
    assert monotonic() - began < 10
    assert job.events == [EventType.JOB_SUCCEEDED]
