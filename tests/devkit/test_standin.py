"""The stand-in over HTTP, as the bridge calls it."""

import http.client
import json
import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from click.testing import CliRunner

from app.devkit.processes import wait_until
from app.devkit.standin.__main__ import create_app, main
from app.devkit.standin.cloud import Cloud

# Copied from CPH's documentation, with its line ends.
EXAMPLE = """{
"error_msg" : null,
"execute_msg" : null,
"job_id" : "6837531fd3f54550927b930180a706bf",
"phone_id" : "9b28fbe50ded4060b8149a47e55dba82",
"end_time" : "2019-04-26T07:00:06Z",
"begin_time" : "2019-04-26T07:00:00Z",
"error_code" : null,
"request_id" : "2676a3b4f7df49c297c6775989806d32",
"status" : 2
}"""


def refusal(answer: requests.Response) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"error_msg", "error_code", "request_id"}
    return answer.status_code, body["error_code"]


def test_the_published_example_comes_out_to_the_letter(standin: Any) -> None:
    standin.job(
        job_id="6837531fd3f54550927b930180a706bf",
        request_id="2676a3b4f7df49c297c6775989806d32",
        phone_id="9b28fbe50ded4060b8149a47e55dba82",
        begin_time="2019-04-26T07:00:00Z",
        end_time="2019-04-26T07:00:06Z",
        duration_s=0,
    )
    answer = standin.cph("/6837531fd3f54550927b930180a706bf")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.text == EXAMPLE.replace(" :", ":").replace("{\n", "{").replace("\n}", "}").replace("\n", " ")


def test_a_job_runs_for_its_time_and_then_ends(standin: Any) -> None:
    job = standin.job(duration_s=0.3)
    shown = standin.cph(f"/{job['job_id']}").json()
    assert (shown["status"], shown["end_time"]) == (1, None)
    wait_until(lambda: standin.cph(f"/{job['job_id']}").json()["status"] == 2, what="its end")
    assert standin.cph(f"/{job['job_id']}").json()["end_time"] >= shown["begin_time"]


def test_a_failed_job_says_why_only_once_it_has_ended(standin: Any) -> None:
    failure = {"error_code": "CPS.0005", "error_msg": "It broke.", "execute_msg": "exit 1", "outcome": "failed"}
    running = standin.cph(f"/{standin.job(**failure, duration_s=60)['job_id']}").json()
    ended = standin.cph(f"/{standin.job(**failure, duration_s=0)['job_id']}").json()
    reasons = ("error_code", "error_msg", "execute_msg")
    assert (running["status"], *(running[reason] for reason in reasons)) == (1, None, None, None)
    assert (ended["status"], *(ended[reason] for reason in reasons)) == (-1, "CPS.0005", "It broke.", "exit 1")


def test_a_job_of_a_server_has_a_server_id_instead_of_a_phone_id(standin: Any) -> None:
    shown = standin.cph(f"/{standin.job(server_id='s1')['job_id']}").json()
    assert shown["server_id"] == "s1"
    assert "phone_id" not in shown


def test_a_job_can_be_seen_only_after_a_while(standin: Any) -> None:
    job = standin.job(visible_after_s=0.2)
    assert refusal(standin.cph(f"/{job['job_id']}")) == (404, "CPS.0011")
    wait_until(lambda: standin.cph(f"/{job['job_id']}").status_code == 200, what="its appearance")


def test_a_job_scripted_again_begins_again(standin: Any) -> None:
    standin.job(job_id="again", request_id="first", duration_s=0)
    standin.job(job_id="again", request_id="second", duration_s=60)
    assert standin.cph("/again").json()["status"] == 1
    assert [job["job_id"] for job in standin.cph("?request_ids=second").json()["jobs"]] == ["again"]
    assert refusal(standin.cph("?request_ids=first")) == (400, "CPS.0050")


def test_a_list_holds_the_jobs_of_its_request_ids_in_pages(standin: Any) -> None:
    standin.order("/_standin/jobs", [{"job_id": f"p{n}", "request_id": f"pages-{n % 2}"} for n in range(5)])
    first = standin.cph("?request_ids=pages-0%2Cpages-1&limit=3&request_id=ignored").json()
    second = standin.cph("?request_ids=pages-0,pages-1&limit=3&offset=3").json()
    assert [job["job_id"] for job in first["jobs"]] == ["p0", "p2", "p4"]
    assert [job["job_id"] for job in second["jobs"]] == ["p1", "p3"]
    assert set(first) == {"request_id", "jobs"}
    assert first["request_id"] not in ("pages-0", "pages-1", second["request_id"])
    assert all("request_id" not in job for job in first["jobs"])
    assert standin.cph("?request_id=pages-1&offset=9").json()["jobs"] == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "CPS.0049"),
        ("?request_ids=,", "CPS.0049"),
        ("?request_ids=" + ",".join(map(str, range(21))), "CPS.0161"),
        ("?request_ids=a&limit=0", "CPS.0002"),
        ("?request_ids=a&limit=101", "CPS.0002"),
        ("?request_ids=a&offset=-1", "CPS.0002"),
        ("?request_ids=a&offset=two", "CPS.0002"),
        ("?request_ids=unheard-of", "CPS.0050"),
    ],
)
def test_a_wrong_list_call_is_refused_as_cph_does(standin: Any, query: str, code: str) -> None:
    assert refusal(standin.cph(query)) == (400, code)


def test_a_call_must_prove_who_it_is_and_keep_to_its_project(standin: Any) -> None:
    path = f"/v1/{standin.about['project_id']}/cloud-phone/jobs/x"
    mine = {"X-Auth-Token": standin.about["token"]}
    assert refusal(standin.call("GET", path)) == (401, "APIGW.0301")
    assert refusal(standin.call("GET", path, headers={"X-Auth-Token": "made up"})) == (401, "APIGW.0301")
    assert refusal(standin.call("GET", "/v1/other/cloud-phone/jobs/x", headers=mine)) == (403, "CPS.0001")
    assert refusal(standin.call("GET", "/v1/no-such-api", headers=mine)) == (404, "APIGW.0101")


@pytest.mark.parametrize(("life", "at_first"), [(timedelta(0), "APIGW.0307"), (timedelta(hours=1), "CPS.0011")])
def test_a_token_ends_when_its_life_is_over_or_when_ordered(life: timedelta, at_first: str) -> None:
    cloud = Cloud.with_tokens_for(life)
    token, _ = cloud.tokens.issue(cloud.clock.now())
    client = create_app(cloud).test_client()

    def code() -> Any:
        path = f"/v1/{cloud.account.project_id}/cloud-phone/jobs/x"
        return client.get(path, headers={"X-Auth-Token": token}).get_json()["error_code"]

    assert code() == at_first
    client.post("/_standin/tokens/expire")
    assert code() == "APIGW.0307"


def test_calls_are_counted_by_api_and_by_job(standin: Any) -> None:
    before = standin.call("GET", "/_standin/calls").json()
    for path in ("/counted", "/counted", "?request_id=x"):
        standin.cph(path)
    standin.call("POST", "/v3/auth/tokens")
    after = standin.call("GET", "/_standin/calls").json()
    assert after["by_job"]["counted"] == 2
    assert {api: after[api] - before[api] for api in ("show_job", "list_jobs", "iam_tokens")} == {
        "show_job": 2,
        "list_jobs": 1,
        "iam_tokens": 1,
    }
    assert after["most_at_once"] >= 1


def test_an_order_that_makes_no_sense_is_refused_with_the_reason(standin: Any) -> None:
    answer = standin.call("POST", "/_standin/faults", json={"kind": "earthquake"})
    assert answer.status_code == 422
    assert answer.json()[0]["loc"] == ["kind"]
    assert standin.call("POST", "/_standin/jobs", json={"jobid": "typo"}).status_code == 422


def test_a_connection_serves_many_calls_whatever_is_left_unread(standin: Any) -> None:
    connection = http.client.HTTPConnection(urlsplit(standin.about["url"]).netloc, timeout=5)
    connection.request("POST", "/no-such-api", body=b"GET /swallowed HTTP/1.1\r\n\r\n")
    assert connection.getresponse().read().startswith(b"{")
    socket = connection.sock
    took_s = []
    for _ in range(20):
        begun = time.monotonic()
        connection.request("GET", "/_standin/calls")
        json.loads(connection.getresponse().read())
        took_s.append(time.monotonic() - begun)
    assert connection.sock is socket
    # Nagle's algorithm with delayed acknowledgements would take 40 ms for each.
    assert min(took_s) < 0.03
    connection.close()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(serve: Callable[..., Any], ending: signal.Signals) -> None:
    standin = serve("standin")
    standin.cph("/x")
    os.kill(standin.process.pid, ending)
    wait_until(lambda: standin.process.exit_code is not None, what="its end")
    assert standin.process.exit_code == 0
    assert len(standin.process.lines) == 1


@pytest.mark.parametrize("bind", ["nowhere", ":80", "127.0.0.1:http", "127.0.0.1:99999"])
def test_a_wrong_address_is_named(bind: str) -> None:
    ended = CliRunner().invoke(main, ["--bind", bind])
    assert ended.exit_code == 2
    assert f"{bind} is not host:port" in ended.output
