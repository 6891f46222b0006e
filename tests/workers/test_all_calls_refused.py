"""Refusals whose code says nothing, or little: do they concern one call, or all calls of the project?"""

from collections.abc import Callable
from datetime import timedelta

import pytest

from app.bootstrap.stores import Stores
from app.domain.job import JobState
from app.domain.project_health import ProjectHealth, ProjectState
from tests.support.scripted_cloud import Answer, CloudHandler, says

SECOND = timedelta(seconds=1)
JOBS = ["a" * 32, "b" * 32, "c" * 32]
UNKNOWN = says(404, {"error_code": "CPS.0011", "error_msg": "The job does not exist."})
FORBIDDEN_IN_REGION = says(
    403,
    {"error_code": "APIGW.0802", "error_msg": "The IAM user is forbidden in the currently selected region"},
)
ANSWERS_TO_ALL_CALLS = {
    "a code that nobody knows": says(403, {"error_code": "WAF.4711", "error_msg": "no"}),
    "a page of a firewall": says(403, b"<html>the firewall says no"),
    "a page that is not found": says(404, b"<html>not found"),
    "a login page": says(200, b"<html>log in"),
    "a redirect": says(302, b"", {"Location": "https://login.example"}),
    "a proxy's login": says(407, b""),
    "for legal reasons": says(451, b""),
    "a bad request": says(400, {"error_code": "CPS.0002", "error_msg": "wrong"}),
}


@pytest.fixture
def health(stores: Stores) -> Callable[[], ProjectHealth]:
    return lambda: stores.project_healths.of(["default"])[0]


def running(job_id: str) -> Answer:
    return says(200, {"job_id": job_id, "status": 1})


def by_job(answers: dict[str, Answer]) -> Answer:
    """Answers ShowJob by the job's id; it knows no other job."""

    def answer(handler: CloudHandler) -> None:
        answers.get(handler.path.rpartition("/")[2], UNKNOWN)(handler)

    return answer


def test_a_user_who_is_forbidden_in_the_region_is_told_what_to_do_after_one_call(
    cloud, make_watched_job, poll_rounds, health, stores, clock
) -> None:
    job = make_watched_job(JOBS[0])
    cloud.cph = FORBIDDEN_IN_REGION
    began = clock.now
    poll_rounds(20)
    assert len(cloud.calls) == 1
    assert health().state is ProjectState.REFUSED
    assert health().refused_since == began
    assert health().failure == "HTTP 403 APIGW.0802: The IAM user is forbidden in the currently selected region"
    assert "check the region of the endpoint" in (health().remedy(clock.now) or "")
    assert job.state is JobState.PENDING


def test_a_user_who_may_not_list_in_the_region_is_refused_although_no_job_is_known(
    cloud, make_request_registration, poll_rounds, health, request_id
) -> None:
    make_request_registration(request_id)
    cloud.cph = FORBIDDEN_IN_REGION
    poll_rounds(20)
    assert health().state is ProjectState.REFUSED
    assert len(cloud.calls) == 1


@pytest.mark.parametrize("answer", ANSWERS_TO_ALL_CALLS.values(), ids=ANSWERS_TO_ALL_CALLS)
@pytest.mark.parametrize("jobs", [JOBS[:1], JOBS], ids=["one job", "three jobs"])
def test_what_every_call_is_answered_without_a_success_is_the_trouble_of_the_project(
    cloud, make_watched_job, poll_rounds, health, clock, answer, jobs
) -> None:
    for job in jobs:
        make_watched_job(job)
    cloud.cph = answer
    poll_rounds(30)
    assert health().state is ProjectState.REFUSED
    assert "no call gets an answer of CPH's API" in (health().remedy(clock.now) or "")
    # Three refusals in a row, and the check; then a probe and a check every ten seconds.
    assert 4 <= len(cloud.calls) <= 10
    cloud.cph = by_job({job: running(job) for job in jobs})
    poll_rounds(60)
    assert health().state is ProjectState.OK


@pytest.mark.parametrize("answer", ANSWERS_TO_ALL_CALLS.values(), ids=ANSWERS_TO_ALL_CALLS)
def test_a_request_that_cannot_be_listed_where_no_job_can_be_shown_either_is_the_trouble_of_the_project(
    cloud, make_request_registration, poll_rounds, health, request_id, answer
) -> None:
    make_request_registration(request_id)
    cloud.cph = answer
    poll_rounds(60)
    assert health().state is ProjectState.REFUSED


@pytest.mark.parametrize("code", ["APIGW.0101", "APIG.0103"])
def test_a_wrong_host_is_the_trouble_of_the_project_once_shown_jobs_are_refused_too(
    cloud, make_request_registration, poll_rounds, health, request_id, clock, code
) -> None:
    make_request_registration(request_id)
    cloud.cph = says(404, {"error_code": code, "error_msg": "The API does not exist."})
    poll_rounds(5)
    assert health().state is ProjectState.REFUSED
    assert "CPH's API is not at this host" in (health().remedy(clock.now) or "")


def test_a_place_without_list_jobs_is_no_trouble_while_jobs_are_shown(
    cloud, make_request_registration, poll_rounds, health, request_id
) -> None:
    make_request_registration(request_id)
    no_such_api = says(404, {"error_code": "APIGW.0101", "error_msg": "The API does not exist."})
    cloud.cph = lambda handler: (no_such_api if "request_ids=" in handler.path else UNKNOWN)(handler)
    poll_rounds(30)
    assert health().state is ProjectState.OK


@pytest.mark.parametrize("others", [[], JOBS[1:]], ids=["alone", "beside others"])
def test_one_odd_job_that_a_firewall_refuses_pauses_nobody(
    cloud, make_watched_job, poll_rounds, health, others
) -> None:
    odd = make_watched_job(JOBS[0])
    for job in others:
        make_watched_job(job)
    firewall = ANSWERS_TO_ALL_CALLS["a page of a firewall"]
    cloud.cph = by_job({JOBS[0]: firewall, **{job: running(job) for job in others}})
    poll_rounds(60)
    assert health().refused_since is None
    another = make_watched_job("d" * 32)
    cloud.cph = by_job({JOBS[0]: firewall, another.job_id: says(200, {"job_id": another.job_id, "status": 2})})
    poll_rounds(2)
    assert another.state is JobState.SUCCEEDED
    assert odd.state is JobState.PENDING


def test_refusals_that_several_workers_see_count_together(stores: Stores, now) -> None:
    agenda = stores.polls_due
    assert [agenda.count_refused_call("default", now) for _ in range(4)] == [False, False, True, False]
    agenda.close_breaker("default", now)
    assert [agenda.count_refused_call("default", now) for _ in range(3)] == [False, False, True]


def test_servers_that_fail_are_no_refusal(cloud, make_watched_job, poll_rounds, health) -> None:
    make_watched_job(JOBS[0])
    cloud.cph = says(502, b"<html>bad gateway")
    poll_rounds(30)
    assert health().state is ProjectState.WAITING
    assert health().failure == "HTTP 502: no reason given"
