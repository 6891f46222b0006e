"""Each fault, as a client sees it."""

import json
import time
from collections.abc import Callable
from typing import Any, get_args

import pytest
import requests

from app.devkit.standin.damage import AnswerDamage
from app.devkit.standin.gateway_codes import GatewayCode
from app.domain.foreign_json import read_object


@pytest.fixture
def ended_job_id(standin: Any) -> str:
    job_id: str = standin.job(duration_s=0)["job_id"]
    return job_id


@pytest.fixture
def faulty_answer(standin: Any, ended_job_id: str) -> Callable[..., requests.Response]:
    """faulty_answer("html") orders this fault and returns the answer to ShowJob."""

    def ask(kind: str, *, stream: bool = False, **more: Any) -> requests.Response:
        standin.order("/_standin/faults", {"kind": kind, **more})
        answer: requests.Response = standin.cph(f"/{ended_job_id}", stream=stream)
        return answer

    return ask


def test_a_throttled_call_learns_the_budget(faulty_answer: Callable[..., requests.Response]) -> None:
    answer = faulty_answer("throttle")
    assert (answer.status_code, answer.json()["error_code"]) == (429, "APIGW.0308")
    assert answer.json()["error_msg"].endswith("limit:10,time:1 minute")


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [("error_500", 500, "CPS.0003"), ("unauthorized", 401, "APIGW.0301"), ("forbidden", 403, "CPS.0001")],
)
def test_a_refusal_comes_in_cphs_shape(
    faulty_answer: Callable[..., requests.Response], kind: str, status: int, code: str
) -> None:
    answer = faulty_answer(kind)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)


def test_html_comes_with_a_200(faulty_answer: Callable[..., requests.Response]) -> None:
    answer = faulty_answer("html")
    assert (answer.status_code, answer.text[:6]) == (200, "<html>")


def test_garbage_says_that_it_is_json(faulty_answer: Callable[..., requests.Response]) -> None:
    answer = faulty_answer("garbage")
    assert answer.headers["Content-Type"] == "application/json"
    with pytest.raises(ValueError, match=r"Expecting|decode"):
        answer.json()


def test_a_truncated_answer_breaks_off(faulty_answer: Callable[..., requests.Response]) -> None:
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        faulty_answer("truncated")


def test_a_slow_answer_is_whole_but_late(faulty_answer: Callable[..., requests.Response], ended_job_id: str) -> None:
    begun = time.monotonic()
    assert faulty_answer("slow", seconds=0.2).json()["job_id"] == ended_job_id
    assert time.monotonic() - begun >= 0.2


def test_a_dripping_answer_begins_at_once_and_ends_late(
    faulty_answer: Callable[..., requests.Response], ended_job_id: str
) -> None:
    begun = time.monotonic()
    answer = faulty_answer("drip", seconds=0.5, stream=True)
    began_after = time.monotonic() - begun
    assert answer.json()["job_id"] == ended_job_id
    assert began_after < 0.25
    assert time.monotonic() - begun >= 0.5


def test_an_endless_answer_goes_on_until_we_hang_up(
    faulty_answer: Callable[..., requests.Response], standin: Any
) -> None:
    with faulty_answer("endless", stream=True) as answer:
        assert len(answer.raw.read(1_000_000)) == 1_000_000
    assert standin.call("GET", "/_standin/calls").ok


def test_an_answer_may_be_about_another_job(faulty_answer: Callable[..., requests.Response], ended_job_id: str) -> None:
    assert faulty_answer("wrong_job_id").json()["job_id"] != ended_job_id


def test_an_answer_may_have_a_status_nobody_knows(faulty_answer: Callable[..., requests.Response]) -> None:
    assert faulty_answer("unknown_status").json()["status"] not in (1, 2, -1)


@pytest.mark.parametrize("damage", list(AnswerDamage))
def test_a_damaged_answer_is_damaged_in_one_job_only(standin: Any, damage: AnswerDamage) -> None:
    ids = [f"{damage}-{number}" for number in range(3)]
    standin.order("/_standin/jobs", [{"job_id": id, "request_id": str(damage), "duration_s": 0} for id in ids])
    good = standin.cph(f"?request_ids={damage}").content
    standin.order("/_standin/faults", {"kind": "damaged", "damage": damage, "job_id": ids[1]})
    body = standin.cph(f"?request_ids={damage}").content
    assert body != good
    for id in (ids[0], ids[2]):
        assert id.encode() in body
    jobs = read_object(body)["jobs"]
    assert [(jobs[number]["job_id"], jobs[number]["status"]) for number in (0, 2)] == [(ids[0], 2), (ids[2], 2)]


def test_a_text_may_be_cut_inside_a_character(faulty_answer: Callable[..., requests.Response]) -> None:
    with pytest.raises(UnicodeDecodeError):
        json.loads(faulty_answer("damaged", damage="cut_character").content)


@pytest.mark.parametrize("code", get_args(GatewayCode))
def test_the_gateway_refuses_in_its_own_words(faulty_answer: Callable[..., requests.Response], code: str) -> None:
    answer = faulty_answer("gateway", code=code)
    assert answer.json()["error_code"] == code
    assert answer.status_code in (403, 404, 503)


def test_behind_the_last_job_an_offset_may_be_refused(standin: Any) -> None:
    standin.order("/_standin/jobs", [{"job_id": f"full-{number}", "request_id": "full"} for number in range(100)])
    standin.order("/_standin/faults", {"kind": "offset_refused", "times": None})
    assert len(standin.cph("?request_ids=full&offset=0&limit=100").json()["jobs"]) == 100
    refused = standin.cph("?request_ids=full&offset=100&limit=100")
    assert (refused.status_code, refused.json()["error_code"]) == (400, "CPS.0002")


def test_a_job_may_concern_a_phone_and_a_server(standin: Any) -> None:
    job_id = standin.job(phone_id="p1", server_id="s1")["job_id"]
    answer = standin.cph(f"/{job_id}").json()
    assert (answer["phone_id"], answer["server_id"]) == ("p1", "s1")


def test_a_fault_spoils_as_many_calls_as_it_says(standin: Any, ended_job_id: str) -> None:
    standin.order("/_standin/faults", {"kind": "error_500", "times": 2})
    assert [standin.cph(f"/{ended_job_id}").status_code for _ in range(3)] == [500, 500, 200]


def test_a_standing_fault_lasts_until_it_is_cleared(standin: Any, ended_job_id: str) -> None:
    standin.order("/_standin/faults", {"kind": "throttle", "times": None})
    assert {standin.cph(path).status_code for path in (f"/{ended_job_id}", f"/{ended_job_id}", "?request_id=x")} == {
        429
    }
    standin.call("DELETE", "/_standin/faults")
    assert standin.cph(f"/{ended_job_id}").status_code == 200


def test_a_fault_for_one_job_leaves_the_others_alone(standin: Any) -> None:
    standin.order("/_standin/jobs", [{"job_id": job_id, "request_id": "pair"} for job_id in ("hit", "spared")])
    standin.order("/_standin/faults", {"kind": "unknown_status", "job_id": "hit", "times": 2})
    assert standin.cph("/spared").json()["status"] == 1
    assert standin.cph("/hit").json()["status"] == 7
    assert [job["status"] for job in standin.cph("?request_ids=pair").json()["jobs"]] == [7, 1]
    assert standin.cph("/hit").json()["status"] == 1
