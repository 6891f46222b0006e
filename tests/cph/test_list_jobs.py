"""`CphClient.list_jobs`: all jobs of some requests, page by page."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cph.client import JOBS_A_PAGE, PAGES_AT_ONCE, CphClient, Listed, MayNotList, NoSuchRequest, Unanswered
from app.cph.credentials import FixedToken
from app.domain.job import JobState
from app.transport.client import Transport
from tests.support.scripted_cloud import ENDLESS, Answer, ScriptedCloud, in_turn, running_cloud, says


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


def test_a_job_of_which_a_list_does_not_tell_the_status_is_named_and_the_others_are_untouched(client, cloud):
    cloud.cph = page(
        {"job_id": "a", "status": 7}, {"job_id": "b"}, {"job_id": "c", "status": "1"}, {"job_id": "d", "status": "2"}
    )

    listed = client.list_jobs(["r"])

    assert isinstance(listed, Listed)
    assert (listed.running, listed.doubtful) == ({"c"}, {"a", "b"})
    assert [job.job_id for job in listed.ended] == ["d"]
    assert listed.unreadable == "1 of 4 listed jobs cannot be read"


def test_of_a_job_that_a_list_shows_twice_the_end_counts(client, cloud):
    once, twice = {"job_id": "a", "status": 2}, {"job_id": "a", "status": 1}
    for records in ([once, twice], [twice, once], [{"job_id": "a"}, once, twice]):
        cloud.cph = page(*records)
        listed = client.list_jobs(["r"])
        assert isinstance(listed, Listed)
        assert ([job.job_id for job in listed.ended], listed.running, listed.doubtful) == (["a"], set(), set())


@pytest.mark.parametrize(
    "record",
    [
        b'{"job_id":"B","status":2,"execute_msg":"\xe8\xbe\x93\xe5\x87"}',
        b'{"job_id":"B","status":2,"execute_msg":"a\tb\nc\x1b[0m\x00"}',
        b'{"job_id":"B","status":2,"error_msg":"\xb0\xb2\x81\x5c"}',
        b'{"job_id":"B","status":"2","error_msg":"say "no""}',
        b'{"error_msg":"' + b"y" * 100_000 + b'","job_id":"B","status":2.0}',
    ],
)
def test_a_damaged_record_hides_no_end_of_its_page(client, cloud, record):
    cloud.cph = says(200, b'{"jobs":[{"job_id":"A","status":2},' + record + b',{"job_id":"C","status":-1}]}')

    listed = client.list_jobs(["r"])

    assert isinstance(listed, Listed)
    assert [(job.job_id, job.status) for job in listed.ended] == [("A", 2), ("B", 2), ("C", -1)]
    assert (listed.cut, listed.unreadable) == (False, None)


def test_any_single_bad_record_of_a_page_leaves_the_ends_of_the_others_alone(transport):
    pieces = [b'"', b"\\", b",", b"{", b"}", b"[", b"]", b":", b"\x00", b"\n", b"\xb0", b"\xe8\xbe", b'"a":"']
    junk = st.binary(max_size=20) | st.lists(st.sampled_from(pieces), max_size=10).map(b"".join)

    @settings(max_examples=200, deadline=None, database=None)
    @given(junk=junk, is_text=st.booleans())
    def the_others_end(junk, is_text):
        # Behind the beginning of a list of objects, nothing tells the next record from the next object.
        bad = b'"' + junk + b'"' if is_text or b"[" in junk else junk
        body = b'{"jobs":[{"job_id":"A","status":2},{"job_id":"B","error_msg":' + bad
        cloud.cph = says(200, body + b'},{"job_id":"C","status":-1},{"job_id":"D","status":2}],"request_id":"R"}')
        listed = client.list_jobs(["r"])
        assert isinstance(listed, Listed)
        assert {job.job_id: job.status for job in listed.ended if job.job_id != "B"} == {"A": 2, "C": -1, "D": 2}

    with running_cloud() as cloud:
        client = client_for(cloud.url, transport)
        the_others_end()


@pytest.mark.parametrize("job_id", ["a b", "request:r", "x,y", "x" * 200, "J\ufffd", ""])
def test_a_job_with_an_id_that_nobody_can_register_is_told_and_costs_the_others_nothing(client, cloud, job_id):
    cloud.cph = page({"job_id": job_id, "status": 1}, *running(1))

    listed = client.list_jobs(["r"])

    assert listed == Listed(frozenset({"j1"}), (), 1, unreadable="1 of 2 listed jobs cannot be read")


def test_what_came_of_a_page_that_is_cut_short_counts_and_nothing_is_concluded_of_the_rest(client, cloud):
    records = b",".join(b'{"job_id":"j%d","status":2,"execute_msg":"%s"}' % (n, b"y" * 50_000) for n in range(100))
    cloud.cph = says(200, b'{"jobs":[' + records + b"]}")

    listed = client.list_jobs(["r"])

    assert isinstance(listed, Listed)
    assert 30 < len(listed.ended) < 100
    assert (listed.cut, listed.pages, listed.calls) == (True, 0, 1)
    assert listed.failure is not None
    assert listed.failure.unreadable


def test_behind_a_damaged_page_the_list_goes_on(client, cloud):
    first = b",".join(b'{"job_id":"j%d","status":1}' % number for number in range(99))
    damaged = b'{"jobs":[' + first + b',{"job_\xb0id"::"x","status":1\x81}]}'
    cloud.cph = in_turn(says(200, damaged), page(*running(100)))

    listed = client.list_jobs(["r"])

    assert isinstance(listed, Listed)
    assert "j100" in listed.running


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
def test_an_answer_that_never_comes_to_its_list_is_not_believed(cloud, transport, answer: Answer):
    cloud.cph = answer
    outcome = client_for(cloud.url, transport, timedelta(seconds=0.3)).list_jobs(["r"])
    assert isinstance(outcome, Unanswered)
    assert outcome.unreadable
    assert "cut short" in outcome.reason


def test_what_came_before_a_page_that_fails_counts_but_is_not_taken_for_all(client, cloud):
    first = page(*running(*range(99)), {"job_id": "j99", "status": 2})
    cloud.cph = in_turn(first, says(429, {"error_code": "APIGW.0308", "error_msg": "limit:10,time:1 minute"}))
    listed = client.list_jobs(["r"])
    assert isinstance(listed, Listed)
    assert (len(listed.running), [job.job_id for job in listed.ended], listed.calls) == (99, ["j99"], 2)
    assert (listed.cut, listed.pages) == (True, 1)
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


@pytest.mark.parametrize(
    "end",
    [
        says(400, {"error_code": "CPS.0002", "error_msg": "offset or limit is invalid"}),
        says(400, {"error_code": "CPS0002", "error_msg": "offset or limit is invalid"}),
        says(404, {"error_code": "CPS.0050", "error_msg": "No jobs."}),
        says(400, {"error_code": "CPS.0049", "error_msg": "The request id is empty."}),
        says(200, {"jobs": None}),
        page(),
    ],
    ids=["offset refused", "offset refused, other spelling", "no such request", "no request", "null", "an empty page"],
)
@pytest.mark.parametrize("first_page", [0, 3])
def test_behind_a_full_page_a_refused_offset_is_the_end_of_the_list(client, cloud, end: Answer, first_page: int):
    cloud.cph = in_turn(page(*running(*range(100))), end)

    listed = client.list_jobs(["r"], first_page=first_page)

    assert listed == Listed(frozenset(f"j{number}" for number in range(100)), (), 2)


def test_a_list_that_is_resumed_behind_its_last_page_is_over(client, cloud):
    cloud.cph = says(400, {"error_code": "CPS.0002", "error_msg": "offset or limit is invalid"})
    assert client.list_jobs(["r"], first_page=2) == Listed(frozenset(), (), 1)


def test_a_first_page_that_is_refused_is_no_empty_list(client, cloud):
    cloud.cph = says(400, {"error_code": "CPS.0002", "error_msg": "offset or limit is invalid"})
    assert client.list_jobs(["r"]) == Unanswered("HTTP 400 CPS.0002: offset or limit is invalid")


@pytest.mark.parametrize("status", [403, 404, 405])
def test_a_later_page_that_is_forbidden_does_not_discard_the_first(client, cloud, status: int):
    cloud.cph = in_turn(page(*running(*range(100))), says(status, b"<html>the firewall says no"))

    listed = client.list_jobs(["r"])

    assert isinstance(listed, Listed)
    assert (len(listed.running), listed.cut, listed.calls) == (100, True, 2)


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
