"""How the client interprets the errors of CPH: each row of the API reference's table."""

from datetime import timedelta

import pytest

from app.cph.client import CphClient, Unanswered, Unknown
from app.cph.credentials import FixedToken
from app.cph.errors import CHECK_REGION, ERROR_CODES, LONGEST_PAUSE, OPERATOR_MUST_ACT, Throttle, code_in
from app.transport.client import Transport
from tests.support.paths import ROOT
from tests.support.scripted_cloud import ScriptedCloud, says

TOKEN = "a-token"
MINUTE = timedelta(minutes=1)
OVERLOAD_PAUSE = timedelta(seconds=10)
NO_LIMITS = Throttle(None, None, None)
UNAUTHENTICATED = {"unauthenticated": True}
THROTTLED = {"throttled": NO_LIMITS}


@pytest.fixture
def client(cloud: ScriptedCloud, transport: Transport) -> CphClient:
    return CphClient(
        transport=transport,
        endpoint=cloud.url,
        project_id="p",
        credentials=FixedToken(TOKEN),
        deadline=timedelta(seconds=5),
    )


def error(code, message="Some words."):
    return {"request_id": "r1", "error_code": code, "error_msg": message}


@pytest.mark.parametrize("status", [404, 400, 200, 500])
@pytest.mark.parametrize("code", ["CPS.0011", "CPS0011", "cps.0011"])
def test_cps_0011_is_an_unknown_job_whatever_the_status(cloud, client, status, code):
    cloud.cph = says(status, error(code))

    assert client.show_job("j") == Unknown()


@pytest.mark.parametrize(
    ("status", "code", "pause", "kind"),
    [
        (404, "CPS.0050", None, {}),
        (400, "CPS.0048", None, {}),
        (400, "CPS.0049", None, {}),
        (400, "CPS.0161", None, {}),
        (400, "CPS.0002", None, {}),
        (403, "CPS.0001", MINUTE, UNAUTHENTICATED),
        (403, "CPS.0006", MINUTE, UNAUTHENTICATED),
        (403, "CPS0007", MINUTE, UNAUTHENTICATED),
        (400, "CPS.0008", MINUTE, UNAUTHENTICATED),
        (500, "CPS.0003", None, {}),
        (500, "CPS.0042", OVERLOAD_PAUSE, {}),
        (401, "APIGW.0301", MINUTE, UNAUTHENTICATED),
        (401, "APIGW.0303", MINUTE, UNAUTHENTICATED),
        (401, "APIGW.0307", MINUTE, UNAUTHENTICATED),
        (429, "APIGW.0308", OVERLOAD_PAUSE, THROTTLED),
        (500, "APIGW.0308", OVERLOAD_PAUSE, THROTTLED),
        (404, "APIGW.0101", MINUTE, UNAUTHENTICATED),
        (500, "APIG.0103", MINUTE, UNAUTHENTICATED),
        (404, "APIGW.0104", None, {}),
        (403, "APIGW.0302", MINUTE, UNAUTHENTICATED),
        (403, "APIGW.0304", MINUTE, UNAUTHENTICATED),
        (401, "APIGW.0305", MINUTE, UNAUTHENTICATED),
        (403, "APIGW.0306", MINUTE, UNAUTHENTICATED),
        (403, "APIGW.0310", MINUTE, UNAUTHENTICATED),
        (403, "APIGW.0401", MINUTE, UNAUTHENTICATED),
        (403, "APIGW.0402", MINUTE, UNAUTHENTICATED),
        (403, "APIGW.0801", MINUTE, UNAUTHENTICATED),
        (403, "APIGW.0802", MINUTE, UNAUTHENTICATED),
        (403, "APIG.0802", MINUTE, UNAUTHENTICATED),
        (400, "apigw0802", MINUTE, UNAUTHENTICATED),
        (400, "APIGW.0201", None, {}),
        (413, "APIGW.0201", None, {}),
        (504, "APIGW.0201", None, {}),
        (503, "APIGW.0613", OVERLOAD_PAUSE, {}),
        (429, "CPS.9999", OVERLOAD_PAUSE, THROTTLED),
        (401, "CPS.9999", MINUTE, UNAUTHENTICATED),
        (403, "CPS.9999", None, {}),
    ],
)
def test_an_error_pauses_the_project_only_if_it_concerns_every_call(cloud, client, status, code, pause, kind):
    cloud.cph = says(status, error(code))

    assert client.show_job("j") == Unanswered(f"HTTP {status} {code}: Some words. (request r1)", pause, **kind)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error_code": " APIGW.0802 "}, " APIGW.0802 "),
        ({"code": "APIGW.0802", "message": "no"}, "APIGW.0802"),
        ({"error": {"error_code": "APIGW.0802"}}, "APIGW.0802"),
        ({"errorCode": "apig0802"}, "apig0802"),
    ],
    ids=["padded", "another name", "within an error", "a third name"],
)
def test_a_code_is_read_wherever_and_however_it_is_written(cloud, client, body, code):
    cloud.cph = says(403, body)

    answer = client.show_job("j")

    assert answer.unauthenticated
    assert answer.error_code == code.strip()
    assert answer.remedy == CHECK_REGION


@pytest.mark.parametrize("code", [802, {"no": "code"}, "see https://evil.example", "x" * 100, "", None])
def test_a_code_that_is_none_is_not_told_as_one(cloud, client, code):
    cloud.cph = says(403, {"error_code": code})

    answer = client.show_job("j")

    assert answer.error_code == "HTTP 403"
    assert not answer.unauthenticated


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("IAM: HTTP 401 IAM.0101: wrong", "IAM.0101"),
        ("IAM: HTTP 401: The username or password is wrong.", "HTTP 401"),
        ("HTTP 503 APIGW.0613: away", "APIGW.0613"),
        ("IAM: the answer holds no token", None),
    ],
)
def test_the_code_of_an_issuers_refusal_is_found_in_its_text(reason, code):
    assert code_in(reason) == code


def test_every_code_at_which_an_operator_must_act_says_how():
    for listed in ERROR_CODES.values():
        assert (listed.kind in OPERATOR_MUST_ACT) == (listed.remedy is not None)


def test_the_table_of_operations_has_every_code():
    rows = {
        f"| `{code}` | {listed.meaning} | {listed.remedy or 'nothing: it is retried'} |"
        for code, listed in ERROR_CODES.items()
    }
    assert rows <= set((ROOT / "docs/operations.md").read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("status", [404, 403, 302, 502])
def test_a_bare_status_concerns_one_job_and_says_nothing_of_it(cloud, client, status):
    cloud.cph = says(status, b"")

    assert client.show_job("j") == Unanswered(f"HTTP {status}: no reason given")


@pytest.mark.parametrize(
    ("status", "pause", "kind"), [(401, MINUTE, UNAUTHENTICATED), (429, OVERLOAD_PAUSE, THROTTLED)]
)
def test_a_bare_status_that_concerns_every_call_pauses_the_project(cloud, client, status, pause, kind):
    cloud.cph = says(status, b"<html>go away</html>")

    assert client.show_job("j") == Unanswered(f"HTTP {status}: no reason given", pause, **kind)


def test_an_error_in_the_shape_of_iam_is_read(cloud, client):
    cloud.cph = says(401, {"error": {"code": 401, "message": "Expired.", "title": "Unauthorized"}})

    assert client.show_job("j") == Unanswered("HTTP 401: Expired.", MINUTE, **UNAUTHENTICATED)


def test_an_error_with_a_title_alone_says_it(cloud, client):
    cloud.cph = says(500, {"error": {"title": "Internal Server Error"}})

    assert client.show_job("j") == Unanswered("HTTP 500: Internal Server Error")


@pytest.mark.parametrize(
    ("retry_after", "message", "pause"),
    [
        ("7", "limit:10,time:1 minute", timedelta(seconds=7)),
        ("", "over ratelimit,limit:10,time:1 minute", MINUTE),
        ("0", "limit:200,time:1 second", timedelta(seconds=1)),
        ("soon", "limit:10,time: 2 Minutes", 2 * MINUTE),
        ("-5", "slow down", OVERLOAD_PAUSE),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "slow down", OVERLOAD_PAUSE),
        ("²", "limit:10,time:0 minute", OVERLOAD_PAUSE),
        ("999999999", "slow down", LONGEST_PAUSE),
        ("", "limit:10,time:1 day", LONGEST_PAUSE),
        ("9" * 5000, "slow down", OVERLOAD_PAUSE),
    ],
)
def test_throttling_pauses_for_as_long_as_the_answer_says(cloud, client, retry_after, message, pause):
    cloud.cph = says(429, error("APIGW.0308", message), {"Retry-After": retry_after})

    assert client.show_job("j").pause == pause


@pytest.mark.parametrize(
    ("retry_after", "message", "throttle"),
    [
        ("7", "over ratelimit,limit:10,time:1 minute", Throttle(10, MINUTE, timedelta(seconds=7))),
        ("", "Limit: 200, Time: 2 Hours", Throttle(200, 120 * MINUTE, None)),
        ("0", "limit:5", Throttle(5, None, timedelta())),
        ("", "limit:0,time:0 second", NO_LIMITS),
        ("", f"limit:{'9' * 50},time:{'9' * 50} day", NO_LIMITS),
    ],
)
def test_throttling_reports_the_budget_as_far_as_the_answer_does(cloud, client, retry_after, message, throttle):
    cloud.cph = says(429, error("APIGW.0308", message), {"Retry-After": retry_after})

    assert client.show_job("j").throttled == throttle


def test_a_token_that_the_server_quotes_is_not_in_the_reason(cloud, client):
    cloud.cph = says(401, {"error_code": TOKEN, "error_msg": f"bad token {TOKEN}!", "request_id": TOKEN})

    assert client.show_job("j").reason == "HTTP 401 …: bad token …! (request …)"


def test_a_piece_of_a_token_that_the_server_quotes_is_not_in_the_reason(cloud, client):
    cloud.cph = says(401, error("APIGW.0301", f"decrypt failed,token:{'MIIX' * 100}"))

    assert client.show_job("j").reason == "HTTP 401 APIGW.0301: decrypt failed,token:… (request r1)"


def test_a_long_story_is_cut(cloud, client):
    cloud.cph = says(500, error("CPS.0003", "la " * 10_000))

    assert len(client.show_job("j").reason) < 300
