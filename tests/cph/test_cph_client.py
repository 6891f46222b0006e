"""`CphClient.show_job`, with a CPH that works and with one that does not."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cph.client import Answered, CphClient, Unanswered, Unknown
from app.cph.credentials import CphRequest, FixedToken
from app.domain.job import JobState
from app.transport.client import Transport
from app.version import VERSION
from tests.support.scripted_cloud import (
    DAY,
    CloudHandler,
    ScriptedCloud,
    cut_short,
    dripping,
    endless,
    for_token,
    gives_token,
    iam_password,
    in_turn,
    running_cloud,
    says,
)

DONE = says(200, {"job_id": "j", "status": 2})
MINUTE = timedelta(minutes=1)
SECONDS_5 = timedelta(seconds=5)


def cph_client(cloud: ScriptedCloud, transport: Transport, credentials=None, deadline=SECONDS_5) -> CphClient:
    return CphClient(
        transport=transport,
        endpoint=cloud.url + "/",
        project_id="p/1",
        credentials=credentials or FixedToken("fixed"),
        deadline=deadline,
    )


def unreadable(reason: str) -> Unanswered:
    return Unanswered(reason, unreadable=True)


def test_a_job_is_asked_for_by_its_id_with_the_token(cloud, transport):
    cloud.cph = says(200, {"job_id": "a/b ?ü", "status": -1, "error_code": "CPS.0005"})

    outcome = cph_client(cloud, transport).show_job("a/b ?ü")

    assert isinstance(outcome, Answered)
    assert (outcome.job.state, outcome.job.error_code) == (JobState.FAILED, "CPS.0005")
    [call] = cloud.calls
    assert call.path == "/v1/p%2F1/cloud-phone/jobs/a%2Fb%20%3F%C3%BC"
    assert (call.token, call.headers["User-Agent"]) == ("fixed", f"cph-webhook-bridge/{VERSION}")


@pytest.mark.parametrize("code", ["CPS.0011", "APIGW.0308", "CPS.0001"])
def test_a_failed_job_is_an_answer_whatever_its_error_code(cloud, transport, code):
    cloud.cph = says(200, {"job_id": "j", "status": -1, "error_code": code})

    outcome = cph_client(cloud, transport).show_job("j")

    assert isinstance(outcome, Answered)
    assert (outcome.job.state, outcome.job.error_code) == (JobState.FAILED, code)


def test_an_answer_about_another_job_is_not_believed(cloud, transport):
    cloud.cph = says(200, {"job_id": "other", "status": 2, "error_code": "CPS.0011"})

    assert cph_client(cloud, transport).show_job("j") == unreadable(
        "HTTP 200: the answer is about another job (58 bytes)"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>Welcome</html>", "HTTP 200: it is a web page (20 bytes)"),
        (b'{"job_id": "j", "sta', "HTTP 200: the status of the job is missing or cannot be read (20 bytes)"),
        (b"[]", "HTTP 200: it is not a JSON object (2 bytes)"),
        (b"null", "HTTP 200: it is not a JSON object (4 bytes)"),
        (b"\xff\xfe\x00", "HTTP 200: it is not a JSON object (3 bytes)"),
        (b"", "HTTP 200: it is empty (0 bytes)"),
        (b"[" * 50_000, "HTTP 200: it is not a JSON object (50,000 bytes)"),
        (b'{"job_id":"j","status":2', "HTTP 200: the status of the job is missing or cannot be read (24 bytes)"),
        (b'{"job_id":"j","status":"2', "HTTP 200: the status of the job is missing or cannot be read (25 bytes)"),
    ],
)
def test_an_answer_that_is_no_job_is_no_success_and_the_reason_is_told(cloud, transport, body, reason):
    cloud.cph = says(200, body)

    assert cph_client(cloud, transport).show_job("j") == unreadable(reason)


@pytest.mark.parametrize(
    "payload",
    [
        {"jobs": []},
        {"status": 2},
        {"job_id": "", "status": 2},
        {"job_id": None},
        {"job_id": "j", "status": "SUCCESS"},
        {"job_id": "j", "status": None, "error_code": "CPS.0011"},
        {"job_id": "j", "status": True},
    ],
)
def test_an_object_without_id_or_status_is_no_success(cloud, transport, payload):
    cloud.cph = says(200, payload)

    outcome = cph_client(cloud, transport).show_job("j")

    assert isinstance(outcome, Unanswered)
    assert outcome.unreadable


def test_the_error_code_of_a_failed_job_with_a_damaged_id_does_not_make_it_unknown(cloud, transport):
    cloud.cph = says(200, b'{"job_id":"j\xb0","status":-1,"error_code":"CPS.0011"}')

    outcome = cph_client(cloud, transport).show_job("j")

    assert isinstance(outcome, Unanswered)
    assert outcome.unreadable


@pytest.mark.parametrize(
    ("body", "state", "code"),
    [
        pytest.param(
            b'{"job_id":"J","request_id":"R","status":2,"execute_msg":"\xe8\xbe\x93\xe5\x87"}',
            JobState.SUCCEEDED,
            None,
            id="a text cut inside a character",
        ),
        pytest.param(
            b'{"job_id":"J","status":2,"execute_msg":"a\tb\nc\x1b[0m\x00"}',
            JobState.SUCCEEDED,
            None,
            id="control characters",
        ),
        pytest.param(
            b'{"job_id":"J","status":-1,"error_code":"CPS.0005","error_msg":"\xb0\xb2\xd7\xb0"}',
            JobState.FAILED,
            "CPS.0005",
            id="GBK",
        ),
        pytest.param(
            b'{"job_id":"J","error_msg":"\xb0\xb2\x81\x5c","error_code":"CPS.0005","status":-1}',
            JobState.FAILED,
            "CPS.0005",
            id="GBK that ends in a backslash",
        ),
        pytest.param(b'{"job_id":"J","status":"2"}', JobState.SUCCEEDED, None, id="a status in quotes"),
        pytest.param(b'{"job_id":"J","status":2.0}', JobState.SUCCEEDED, None, id="a status with a point"),
        pytest.param(b'{"job_id":"J","status":" -1 "}', JobState.FAILED, None, id="a status with spaces"),
        pytest.param(b'{"job_id":" j ","status":2}', JobState.SUCCEEDED, None, id="the id in another spelling"),
        pytest.param(
            b'{"job_id":"J","status":2,"execute_msg":"' + b"y" * 100_000 + b'"}',
            JobState.SUCCEEDED,
            None,
            id="a long text",
        ),
        pytest.param(
            b'{"execute_msg":"' + b"y" * 500_000 + b'","job_id":"J","status":2}',
            JobState.SUCCEEDED,
            None,
            id="a long text before the status",
        ),
        pytest.param(
            b'{"job_id":"J","status":2,"execute_msg":"' + b"y" * 3_000_000 + b'"}',
            JobState.SUCCEEDED,
            None,
            id="more than is read",
        ),
        pytest.param(
            b'{"job_id":"J","status":-1,"error_code":"CPS.\xb0"}', JobState.FAILED, None, id="an unreadable error code"
        ),
        pytest.param(b'\xef\xbb\xbf{"job_id":"J","status":2}', JobState.SUCCEEDED, None, id="a byte order mark"),
        pytest.param(b'{"job_id":"J","status":2,}', JobState.SUCCEEDED, None, id="a trailing comma"),
    ],
)
def test_no_field_for_show_hides_the_end_of_a_job(cloud, transport, body, state, code):
    cloud.cph = says(200, body)

    outcome = cph_client(cloud, transport).show_job("J")

    assert isinstance(outcome, Answered)
    assert (outcome.job.job_id, outcome.job.state, outcome.job.error_code) == ("J", state, code)


@pytest.mark.parametrize("status", [201, 203, 206])
def test_any_success_of_http_may_carry_the_end_of_a_job(cloud, transport, status):
    cloud.cph = says(status, {"job_id": "j", "status": 2})

    assert isinstance(cph_client(cloud, transport).show_job("j"), Answered)


def test_no_bytes_around_a_readable_status_change_the_verdict(transport):
    pieces = [b'"', b"\\", b",", b"{", b"}", b"[", b"]", b":", b"\x00", b"\n", b"\xb0", b"\xe8\xbe", b'"a":"']
    junk = st.binary(max_size=20) | st.lists(st.sampled_from(pieces), max_size=10).map(b"".join)
    ends = st.sampled_from([(b"2", JobState.SUCCEEDED), (b'"-1"', JobState.FAILED), (b"1", JobState.RUNNING)])

    @settings(max_examples=200, deadline=None, database=None)
    @given(before=junk, behind=junk, end=ends)
    def the_verdict_stays(before, behind, end):
        status, state = end
        fields = b'"job_id":"J","status":' + status
        cloud.cph = says(200, b'{"error_msg":"' + before + b'",' + fields + b',"execute_msg":"' + behind + b'"}')
        outcome = client.show_job("J")
        assert isinstance(outcome, Answered)
        assert outcome.job.state is state

    with running_cloud() as cloud:
        client = cph_client(cloud, transport)
        the_verdict_stays()


def test_an_end_counts_though_the_answer_is_cut_short_behind_it(cloud, transport):
    cloud.cph = cut_short

    outcome = cph_client(cloud, transport, deadline=timedelta(seconds=0.3)).show_job("j")

    assert isinstance(outcome, Answered)
    assert outcome.job.state is JobState.SUCCEEDED


@pytest.mark.parametrize("answer", [endless, dripping])
def test_an_answer_that_never_comes_to_its_fields_is_not_believed(cloud, transport, answer):
    cloud.cph = answer

    outcome = cph_client(cloud, transport, deadline=timedelta(seconds=0.3)).show_job("j")

    assert isinstance(outcome, Unanswered)
    assert outcome.unreadable
    assert outcome.reason.endswith("bytes, cut short)")


def test_a_server_that_does_not_answer_leaves_one_job_unanswered(cloud, transport):
    cloud.cph = lambda handler: handler.server.closing.wait()
    client = cph_client(cloud, transport, deadline=timedelta(seconds=0.2))

    assert client.show_job("j") == Unanswered("timed out after 0.2 s", unreachable=True)


def test_a_server_that_is_unavailable_leaves_one_job_unanswered(transport):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    client = CphClient(
        transport=transport, endpoint=url, project_id="p", credentials=FixedToken("t"), deadline=SECONDS_5
    )

    assert client.show_job("j") == Unanswered("connection refused", unreachable=True)


def test_a_server_that_does_not_speak_http_leaves_one_job_unanswered(cloud, transport):
    cloud.cph = lambda handler: handler.wfile.write(b"220 smtp.example ESMTP\r\n\r\n")

    outcome = cph_client(cloud, transport).show_job("j")

    assert isinstance(outcome, Unanswered)
    assert outcome.pause is None


def test_no_garbage_makes_the_client_raise(transport):
    scalars = st.sampled_from(["j", None, True]) | st.integers() | st.floats() | st.text(max_size=10)
    names = st.sampled_from(["job_id", "status", "error", "error_code", "error_msg", "message", "execute_msg"])
    objects = st.dictionaries(names, scalars | st.dictionaries(names, scalars, max_size=2), max_size=4)
    values = objects | scalars | st.lists(objects, max_size=2)
    bodies = values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20)

    @settings(max_examples=300, deadline=None, database=None)
    @given(status=st.sampled_from([200, 400, 401, 403, 404, 429, 500, 503]), body=bodies)
    def show_job_never_raises(status, body):
        cloud.cph = says(status, body)
        assert isinstance(client.show_job("j"), Answered | Unknown | Unanswered)

    with running_cloud() as cloud:
        client = cph_client(cloud, transport)
        show_job_never_raises()


def test_a_fixed_token_that_is_refused_is_not_tried_again(cloud, transport):
    cloud.cph = for_token("another", DONE)

    assert cph_client(cloud, transport).show_job("j") == Unanswered(
        "HTTP 401 APIGW.0307: The token must be updated.", MINUTE, unauthenticated=True
    )
    assert len(cloud.calls) == 1


def test_a_refused_token_is_renewed_and_the_job_asked_for_once_more(cloud, transport, cache, clock):
    cloud.iam = in_turn(gives_token("old"), gives_token("new"))
    cloud.cph = for_token("old", DONE)
    client = cph_client(cloud, transport, iam_password(cloud, transport, cache, clock))
    client.show_job("j")
    clock.now += DAY / 2
    cloud.cph = for_token("new", DONE)

    assert isinstance(client.show_job("j"), Answered)
    assert [call.token for call in cloud.questions] == ["old", "old", "new"]
    assert len(cloud.logins) == 2


def test_a_second_refusal_pauses_the_project_and_is_the_last_call(cloud, transport, cache, clock):
    cloud.iam = in_turn(gives_token("old"), gives_token("new"))
    cloud.cph = says(403, b"")
    client = cph_client(cloud, transport, iam_password(cloud, transport, cache, clock))
    client.show_job("j")
    clock.now += DAY / 2
    cloud.cph = for_token("none", DONE)
    cloud.calls.clear()

    assert client.show_job("j") == Unanswered(
        "HTTP 401 APIGW.0307: The token must be updated.", MINUTE, unauthenticated=True
    )
    assert [call.token for call in cloud.questions] == ["old", "new"]
    assert len(cloud.logins) == 1


def test_a_token_refused_as_soon_as_it_is_given_is_not_renewed_in_a_loop(cloud, transport, cache, clock):
    cloud.iam = gives_token("for-another-region")
    cloud.cph = for_token("none", DONE)
    client = cph_client(cloud, transport, iam_password(cloud, transport, cache, clock))

    outcomes = [client.show_job("j") for _ in range(10)]

    assert set(outcomes) == {Unanswered("CPH refuses newly issued credentials", SECONDS_5, unauthenticated=True)}
    assert (len(cloud.logins), len(cloud.questions)) == (1, 1)


def test_a_refusal_by_iam_pauses_the_project_and_asks_cph_nothing(cloud, transport, cache, clock):
    cloud.iam = says(401, {"error": {"code": 401, "message": "The username or password is wrong."}})
    client = cph_client(cloud, transport, iam_password(cloud, transport, cache, clock))

    assert client.show_job("j") == Unanswered(
        "IAM: HTTP 401: The username or password is wrong.", 5 * MINUTE, unauthenticated=True
    )
    assert cloud.questions == []


def test_a_refused_token_and_an_iam_that_is_unavailable_call_for_no_operator(cloud, transport, cache, clock):
    cloud.iam = in_turn(gives_token("old"), says(503))
    cloud.cph = for_token("none", DONE)
    credentials = iam_password(cloud, transport, cache, clock)
    credentials.authorise(CphRequest("GET", cloud.url, {}))
    clock.now += DAY / 2

    outcome = cph_client(cloud, transport, credentials).show_job("j")

    assert outcome == Unanswered("IAM: HTTP 503: no reason given", MINUTE)


def test_fifty_calls_refused_in_flight_renew_the_token_once(cloud, transport, cache, clock):
    cloud.iam = in_turn(gives_token("old"), gives_token("new"))
    cloud.cph = DONE
    client = cph_client(cloud, transport, iam_password(cloud, transport, cache, clock))
    client.show_job("j")
    clock.now += DAY / 2
    all_in_flight = threading.Barrier(50, timeout=10)

    def accept_only_the_new_token(handler: CloudHandler) -> None:
        if handler.headers["X-Auth-Token"] == "old":
            all_in_flight.wait()
        for_token("new", DONE)(handler)

    cloud.cph = accept_only_the_new_token
    with ThreadPoolExecutor(50) as threads:
        outcomes = list(threads.map(client.show_job, ["j"] * 50))

    assert all(isinstance(outcome, Answered) for outcome in outcomes)
    assert len(cloud.logins) == 2
