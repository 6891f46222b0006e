"""`CphClient.list_jobs`: all jobs of some requests, page by page."""

from datetime import timedelta
from typing import Any

import pytest

from app.cph.client import JOBS_A_PAGE, PAGES_AT_ONCE, CphClient, Listed, MayNotList, NoSuchRequest, Unanswered
from app.cph.credentials import FixedToken
from app.domain.job import JobState
from app.transport.client import Transport
from tests.support.scripted_cloud import ENDLESS, Answer, ScriptedCloud, in_turn, says


def client_for(endpoint: str, transport: Transport, deadline: timedelta = timedelta(seconds=5)) -> CphClient:
    return CphClient(
        transport=transport, endpoint=endpoint, project_id="p", credentials=FixedToken("fixed"), deadline=deadline
    )


@pytest.fixture
def client(cloud: ScriptedCloud, transport: Transport) -> CphClient:
    return client_for(cloud.url, transport)


def page(*jobs: Any) -> Answer:
    return says(200, {"request_id": "of the call itself", "jobs": list(jobs)})


def running(*numbers: int) -> list[dict[str, Any]]:
    return [{"job_id": f"j{number}", "status": 1} for number in numbers]


def test_requests_are_named_as_the_official_sdk_names_them(client, cloud):
    cloud.cph = page({"job_id": "a", "status": 1}, {"job_id": "b", "status": -1, "error_code": "CPS.0005"})

    listed = client.list_jobs(["r1", "r2"])

    assert isinstance(listed, Listed)
    assert listed.running == {"a"}
    assert [(job.job_id, job.state, job.error_code) for job in listed.ended] == [("b", JobState.FAILED, "CPS.0005")]
    assert [call.path for call in cloud.calls] == [
        "/v1/p/cloud-phone/jobs?request_ids=r1%2Cr2&offset=0&limit=100",
    ]


def test_pages_are_read_until_one_is_not_full(client, cloud):
    cloud.cph = in_turn(page(*running(*range(100))), page(*running(*range(100, 200))), page())

    listed = client.list_jobs(["r"])

    assert isinstance(listed, Listed)
    assert (len(listed.running), listed.calls) == (200, 3)
    assert [call.path.split("offset=")[1] for call in cloud.calls] == ["0&limit=100", "100&limit=100", "200&limit=100"]


def test_no_page_is_asked_for_once_all_that_matters_has_been_seen(client, cloud):
    first = page(*running(*range(99)), {"job_id": "j99", "status": 2})
    cloud.cph = in_turn(first, page(*running(*range(100, 200))))

    listed = client.list_jobs(["r"], enough={"j7", "j99"})

    assert isinstance(listed, Listed)
    assert (len(listed.running), len(listed.ended), listed.calls) == (99, 1, 1)


def test_what_matters_and_has_not_been_seen_is_looked_for_to_the_end(client, cloud):
    cloud.cph = in_turn(page(*running(*range(100))), page(*running(*range(100, 200))), page())

    listed = client.list_jobs(["r"], enough={"j7", "gone"})

    assert isinstance(listed, Listed)
    assert (len(listed.running), listed.calls) == (200, 3)


def test_a_job_that_moves_to_another_page_and_ends_meanwhile_has_ended(client, cloud):
    cloud.cph = in_turn(page(*running(*range(100))), page({"job_id": "j7", "status": 2}))

    listed = client.list_jobs(["r"])

    assert isinstance(listed, Listed)
    assert [job.job_id for job in listed.ended] == ["j7"]
    assert "j7" not in listed.running


def test_an_empty_list_is_no_success_of_anything(client, cloud):
    cloud.cph = page()
    assert client.list_jobs(["r"]) == Listed(frozenset(), (), 1)


def test_a_status_that_nobody_has_seen_counts_as_running(client, cloud):
    cloud.cph = page({"job_id": "a", "status": 7}, {"job_id": "b"}, {"job_id": "c", "status": "2"})
    assert client.list_jobs(["r"]) == Listed(frozenset({"a", "b", "c"}), (), 1)


def test_what_is_no_job_costs_the_others_nothing(client, cloud):
    cloud.cph = page(None, 7, [], {"status": 2}, {"job_id": 5, "status": 2}, {"job_id": "a", "status": 2})

    listed = client.list_jobs(["r"])

    assert isinstance(listed, Listed)
    assert [job.job_id for job in listed.ended] == ["a"]


def test_a_request_that_cph_does_not_know_is_reported(client, cloud):
    cloud.cph = says(400, {"error_code": "CPS.0050", "error_msg": "No jobs."})
    assert client.list_jobs(["r1", "r2"]) == NoSuchRequest()


@pytest.mark.parametrize(
    "answer",
    [
        says(403, {"error_code": "CPS.0001", "error_msg": "You do not have the permission."}),
        says(404, {"error_code": "APIGW.0101", "error_msg": "The API does not exist."}),
        says(403, b"<html>the firewall says no"),
        says(405),
    ],
    ids=["no permission", "no such API", "a firewall", "not this method"],
)
def test_where_nothing_can_be_listed_jobs_are_to_be_asked_for_by_their_ids(client, cloud, answer: Answer):
    cloud.cph = answer
    assert isinstance(client.list_jobs(["r"]), MayNotList)


@pytest.mark.parametrize(
    "answer",
    [says(200, b"<html>"), says(200, {"jobs": {}}), says(200, {"jobs": None}), says(500), says(200, [])],
    ids=["html", "object", "null", "500", "list"],
)
def test_a_list_that_is_none_is_no_answer(client, cloud, answer: Answer):
    cloud.cph = answer
    outcome = client.list_jobs(["r"])
    assert isinstance(outcome, Unanswered)
    assert outcome.pause is None


@pytest.mark.parametrize("answer", ENDLESS)
def test_a_list_that_does_not_come_to_its_end_is_not_believed(cloud, transport, answer: Answer):
    cloud.cph = answer
    outcome = client_for(cloud.url, transport, timedelta(seconds=0.3)).list_jobs(["r"])
    assert outcome == Unanswered("HTTP 200: the answer is cut short")


def test_what_came_before_a_page_that_fails_counts_but_is_not_taken_for_all(client, cloud):
    first = page(*running(*range(99)), {"job_id": "j99", "status": 2})
    cloud.cph = in_turn(first, says(429, {"error_code": "APIGW.0308", "error_msg": "limit:10,time:1 minute"}))
    listed = client.list_jobs(["r"])
    assert isinstance(listed, Listed)
    assert (len(listed.running), [job.job_id for job in listed.ended], listed.calls) == (99, ["j99"], 1)
    assert listed.cut
    assert listed.failure is not None
    assert listed.failure.pause == timedelta(minutes=1)


def test_a_list_goes_on_where_it_was_cut(client, cloud):
    cloud.cph = page(*running(1))
    assert client.list_jobs(["r"], first_page=7) == Listed(frozenset({"j1"}), (), 1)
    assert [call.path.split("offset=")[1] for call in cloud.calls] == ["700&limit=100"]


def test_no_further_page_is_read_when_time_is_up(client, cloud):
    cloud.cph = in_turn(*(page(*running(*range(first, first + 100))) for first in (0, 100, 200)))
    time_left = iter([True, False])
    listed = client.list_jobs(["r"], may_go_on=lambda: next(time_left))
    assert isinstance(listed, Listed)
    assert (len(listed.running), listed.calls, listed.cut, listed.failure) == (200, 2, True, None)


def test_behind_a_last_page_that_is_full_cph_may_know_of_no_jobs(client, cloud):
    cloud.cph = in_turn(page(*running(*range(100))), says(400, {"error_code": "CPS.0050", "error_msg": "No jobs."}))
    listed = client.list_jobs(["r"])
    assert isinstance(listed, Listed)
    assert (len(listed.running), listed.cut) == (100, False)


def test_throttling_pauses_the_project(client, cloud):
    cloud.cph = says(429, {"error_code": "APIGW.0308", "error_msg": "limit:10,time:1 minute"})
    outcome = client.list_jobs(["r"])
    assert isinstance(outcome, Unanswered)
    assert outcome.pause == timedelta(minutes=1)


def test_a_list_that_repeats_itself_comes_to_an_end(client, cloud):
    cloud.cph = page(*running(*range(JOBS_A_PAGE)))
    listed = client.list_jobs(["r"])
    assert isinstance(listed, Listed)
    assert (len(listed.running), listed.calls, listed.cut) == (100, 2, False)


def test_a_long_list_is_not_read_all_at_once(client, cloud):
    cloud.cph = in_turn(*(page(*running(*range(first, first + 100))) for first in range(0, 11_000, 100)))
    listed = client.list_jobs(["r"])
    assert isinstance(listed, Listed)
    assert (len(listed.running), listed.cut, listed.failure) == (100 * PAGES_AT_ONCE, True, None)
    assert len(cloud.calls) == PAGES_AT_ONCE


def test_a_cph_that_is_unavailable_is_no_answer(transport):
    assert isinstance(client_for("http://127.0.0.1:9", transport).list_jobs(["r"]), Unanswered)
