"""CPH's operations, called over HTTP, and the jobs that they begin."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from app.devkit.processes import wait_until

CPH = "/v1/{}/cloud-phone"
PHONES = f"{CPH}/phones"
TWO_PHONES = {"phones": [{"phone_id": "p1", "property": "{}"}, {"phone_id": "p2"}]}
TWO_PHONE_IDS = {"phone_ids": ["p1", "p2"]}
TWO_SERVERS = {"server_ids": ["s1", "s2"]}

Submit = Callable[..., requests.Response]


@pytest.fixture
def submit(standin: Any) -> Submit:
    def call(method: str, path: str, body: object) -> requests.Response:
        headers = {"X-Auth-Token": standin.about["token"]}
        answer: requests.Response = standin.call(
            method, path.format(standin.about["project_id"]), json=body, headers=headers
        )
        return answer

    return call


def restart(submit: Submit, *phone_ids: str) -> Any:
    body = {"phones": [{"phone_id": phone_id} for phone_id in phone_ids]}
    return submit("POST", f"{PHONES}/batch-restart", body).json()


@pytest.mark.parametrize(
    ("method", "path", "body", "subject"),
    [
        ("POST", f"{PHONES}/batch-restart", TWO_PHONES, "phone_id"),
        ("POST", f"{PHONES}/batch-reset", TWO_PHONES, "phone_id"),
        ("POST", f"{PHONES}/batch-stop", TWO_PHONE_IDS, "phone_id"),
        ("POST", f"{PHONES}/batch-update-property", TWO_PHONES, "phone_id"),
        ("POST", f"{PHONES}/expand-volume", TWO_PHONES, "phone_id"),
        ("POST", f"{PHONES}/batch-storage", {"storage_infos": TWO_PHONES["phones"]}, "phone_id"),
        ("POST", f"{PHONES}/batch-restore", {"restore_infos": TWO_PHONES["phones"]}, "phone_id"),
        ("POST", f"{CPH}/phones-traffic", TWO_PHONE_IDS, "phone_id"),
        (
            "POST",
            f"{PHONES}/commands",
            {"command": "install", "content": "-r obs://b/a.apk", **TWO_PHONE_IDS},
            "phone_id",
        ),
        ("POST", f"{PHONES}/commands", {"command": "shell", "content": "date", **TWO_SERVERS}, "server_id"),
        ("POST", f"{PHONES}/commands", {"command": "push", **TWO_PHONE_IDS, **TWO_SERVERS}, "phone_id"),
        ("DELETE", f"{PHONES}/share-apps", {"package_name": "a.b", **TWO_SERVERS}, "server_id"),
        ("POST", f"{CPH}/servers/batch-restart", TWO_SERVERS, "server_id"),
        ("POST", "/v1/{}/servers/attach-share-filesystem", TWO_SERVERS, "server_id"),
        ("PUT", f"{CPH}/servers/open-access", {"servers": [{"server_id": "s1"}, {"server_id": "s2"}]}, "server_id"),
        ("POST", f"{CPH}/encode-servers/batch-restart", {"encode_server_ids": ["s1", "s2"]}, "encode_server_id"),
    ],
)
def test_an_operation_begins_a_job_for_each_that_it_names(
    standin: Any, submit: Submit, method: str, path: str, body: object, subject: str
) -> None:
    answer = submit(method, path, body)
    assert answer.status_code == 200
    submitted = answer.json()
    assert set(submitted) == {"request_id", "jobs"}
    assert [set(job) for job in submitted["jobs"]] == [{subject, "job_id"}] * 2
    assert [job[subject] for job in submitted["jobs"]] in (["p1", "p2"], ["s1", "s2"])
    shown = [standin.cph(f"/{job['job_id']}").json() for job in submitted["jobs"]]
    assert [(job["request_id"], job["status"]) for job in shown] == [(submitted["request_id"], 1)] * 2
    listed = standin.cph(f"?request_ids={submitted['request_id']}").json()["jobs"]
    assert [{key: job[key] for key in (subject, "job_id")} for job in listed] == submitted["jobs"]


def test_what_is_submitted_ends_as_ordered(standin: Any, submit: Submit) -> None:
    script = {"duration_s": 0, "outcome": "failed", "error_code": "CPS.0005", "error_msg": "It broke."}
    standin.order("/_standin/submissions", {"script": script})
    first, second = restart(submit, "p1"), restart(submit, "p1")
    shown = standin.cph(f"/{first['jobs'][0]['job_id']}").json()
    assert (shown["status"], shown["error_code"], shown["error_msg"]) == (-1, "CPS.0005", "It broke.")
    assert first["request_id"] != second["request_id"]
    assert first["jobs"][0]["job_id"] != second["jobs"][0]["job_id"]


def test_what_is_submitted_can_be_seen_after_a_while_if_so_ordered(standin: Any, submit: Submit) -> None:
    standin.order("/_standin/submissions", {"script": {"visible_after_s": 0.2}})
    job_id = restart(submit, "p1")["jobs"][0]["job_id"]
    assert standin.cph(f"/{job_id}").status_code == 404
    wait_until(lambda: standin.cph(f"/{job_id}").status_code == 200, what="its appearance")


def test_a_phone_that_is_refused_at_once_has_no_job(standin: Any, submit: Submit) -> None:
    standin.order("/_standin/submissions", {"refused": ["gone"]})
    submitted = restart(submit, "p1", "gone", "p2")
    refused = {"phone_id": "gone", "error_code": "CPS.0004", "error_msg": "The resource does not exist."}
    assert submitted["jobs"][1] == refused
    assert [set(job) for job in submitted["jobs"][::2]] == [{"phone_id", "job_id"}] * 2
    assert len(standin.cph(f"?request_ids={submitted['request_id']}").json()["jobs"]) == 2


def test_a_synchronous_command_is_answered_with_its_end(standin: Any, submit: Submit) -> None:
    standin.order("/_standin/submissions", {"script": {"execute_msg": "Linux", "duration_s": 60}, "refused": ["gone"]})
    body = {"command": "shell", "content": "uname", "phone_ids": ["p1", "gone"]}
    done, refused = submit("POST", f"{PHONES}/sync-commands", body).json()["jobs"]
    job_id = done.pop("job_id")
    assert done == {"phone_id": "p1", "status": 2, "error_code": None, "error_msg": None, "execute_msg": "Linux"}
    assert "job_id" not in refused
    assert standin.cph(f"/{job_id}").json()["execute_msg"] == "Linux"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v2/{}/cloud-phone/servers/s1/change", {"phone_model_name": "m"}),
        ("DELETE", "/v2/{}/cloud-phone/servers", {"server_ids": ["s1", "s2"]}),
    ],
)
def test_changing_or_deleting_a_server_is_a_single_job(
    standin: Any, submit: Submit, method: str, path: str, body: object
) -> None:
    submitted = submit(method, path, body).json()
    assert set(submitted) == {"request_id", "server_id", "job_id"}
    assert submitted["server_id"] == "s1"
    assert [job["job_id"] for job in standin.cph(f"?request_ids={submitted['request_id']}").json()["jobs"]] == [
        submitted["job_id"]
    ]
    standin.order("/_standin/submissions", {"refused": ["s1"]})
    assert set(submit(method, path, body).json()) == {"request_id", "server_id", "error_code", "error_msg"}


@pytest.mark.parametrize(
    "path", ["/v2/{}/cloud-phone/servers", "/v2.1/{}/cloud-phone/servers", f"{CPH}/servers/change-server-model"]
)
def test_an_order_begins_no_job(standin: Any, submit: Submit, path: str) -> None:
    submitted = submit("POST", path, {"server_model_name": "m", "server_id": "s1"}).json()
    assert set(submitted) == {"request_id", "order_id", "product_id", "server_ids"}
    assert standin.cph(f"?request_ids={submitted['request_id']}").json()["error_code"] == "CPS.0050"


@pytest.mark.parametrize(
    "body", [None, [], {}, {"phones": []}, {"phones": "p1"}, {"phones": [{}]}, {"phones": [7]}, TWO_PHONE_IDS]
)
def test_a_body_that_names_nothing_is_refused_in_cphs_shape(submit: Submit, body: object) -> None:
    answer = submit("POST", f"{PHONES}/batch-restart", body)
    assert (answer.status_code, set(answer.json())) == (400, {"request_id", "error_code", "error_msg"})
    assert answer.json()["error_code"] == "CPS.0002"


def test_submitting_needs_proof_and_counts_as_a_call(standin: Any, submit: Submit) -> None:
    before = standin.call("GET", "/_standin/calls").json()["submit"]
    path = f"{PHONES}/batch-restart".format(standin.about["project_id"])
    assert standin.call("POST", path, json=TWO_PHONES).status_code == 401
    restart(submit, "p1")
    assert standin.call("GET", "/_standin/calls").json()["submit"] == before + 2


def restart_p1(timed_standin: Any) -> Any:
    token, _ = timed_standin.cloud.tokens.issue(timed_standin.now())
    path = f"{PHONES}/batch-restart".format(timed_standin.cloud.account.project_id)
    return timed_standin.client.post(path, json={"phones": [{"phone_id": "p1"}]}, headers={"X-Auth-Token": token})


def test_an_answer_spoiled_on_its_way_has_begun_its_jobs_all_the_same(timed_standin: Any) -> None:
    timed_standin.order("/_standin/faults", {"kind": "wrong_job_id", "api": "submit"})
    spoiled = restart_p1(timed_standin).json
    (begun,) = timed_standin.cloud.jobs.of_requests([spoiled["request_id"]], timed_standin.now())[spoiled["request_id"]]
    assert begun.script.phone_id == "p1"
    assert begun.script.job_id != spoiled["jobs"][0]["job_id"]


def test_a_submission_may_be_refused_by_a_fault_or_a_budget(timed_standin: Any) -> None:
    timed_standin.order("/_standin/faults", {"kind": "error_500", "api": "submit"})
    timed_standin.order("/_standin/budget", {"calls": 2, "per_s": 60})
    assert [restart_p1(timed_standin).status_code for _ in range(3)] == [500, 200, 429]
