"""Registrations with CPH's unchanged answer to a submission, for every kind of answer, up to the callbacks."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from app.devkit.client import ApiRefused
from tests.whole.conftest import Deployment

PHONES = "/v1/{}/cloud-phone/phones"
TWO_PHONES = {"phones": [{"phone_id": "p1"}, {"phone_id": "gone"}]}
SYNCHRONOUS = {"command": "shell", "content": "date", "phone_ids": ["p1", "gone"]}
CHANGE = {"phone_model_name": "m"}


@pytest.fixture
def submit(deployment: Deployment) -> Iterator[Callable[..., dict[str, Any]]]:
    """Calls CPH and returns its answer. Jobs for `gone` are refused at once, all others fail after a second."""
    script = {"duration_s": 1, "outcome": "failed", "error_code": "CPS.0005"}
    deployment.standin.call("POST", "/_standin/submissions", {"script": script, "refused": ["gone"]})

    def call(method: str, path: str, body: object) -> dict[str, Any]:
        url = deployment.about_cph["url"] + path.format(deployment.about_cph["project_id"])
        headers = {"X-Auth-Token": deployment.about_cph["token"]}
        answer: dict[str, Any] = requests.request(method, url, json=body, headers=headers, timeout=10).json()
        return answer

    yield call
    deployment.standin.call("DELETE", "/_standin/faults")


@pytest.mark.slow
def test_every_answer_that_starts_jobs_is_reported_to_the_last_job(running_deployment, submit) -> None:
    calls = [
        ("POST", f"{PHONES}/batch-restart", TWO_PHONES, ["p1", "gone"]),
        ("POST", f"{PHONES}/sync-commands", SYNCHRONOUS, ["p1", "gone"]),
        ("POST", "/v1/{}/cloud-phone/servers/batch-restart", {"server_ids": ["s1", "s2"]}, ["s1", "s2"]),
        ("POST", "/v1/{}/cloud-phone/encode-servers/batch-restart", {"encode_server_ids": ["s1"]}, ["s1"]),
        ("POST", "/v2/{}/cloud-phone/servers/s1/change", CHANGE, ["s1"]),
        ("DELETE", "/v2/{}/cloud-phone/servers", {"server_ids": ["s1"]}, ["s1"]),
    ]
    targets_by_registration = {
        running_deployment.register(submission=submit(*call), notify="all")["id"]: targets for *call, targets in calls
    }
    running_deployment.receiver.wait_for(len(calls))
    data_by_registration = {
        callback.event["data"]["registration_id"]: callback.event["data"]
        for callback in running_deployment.receiver.callbacks
    }
    for id, targets in targets_by_registration.items():
        ends = {
            job["phone_id"] or job["server_id"]: (job["error_code"], not job["job_id"])
            for job in data_by_registration[id]["jobs"]
        }
        assert ends == {each: ("CPS.0004", True) if each == "gone" else ("CPS.0005", False) for each in targets}
        group = data_by_registration[id]["group"]
        assert group | {"total": len(targets), "failed": len(targets)} == group
    assert set(running_deployment.receiver.ids().values()) == {1}


def test_answers_that_start_no_job_are_refused_with_the_reason(deployment, submit) -> None:
    order = {"server_model_name": "m", "server_id": "s1"}
    for call, message in (
        (("POST", "/v2/{}/cloud-phone/servers", order), "an order starts no job that CPH names"),
        (("POST", f"{PHONES}/batch-restart", {}), "CPH refused the call itself (CPS.0002)"),
        (("POST", "/v2/{}/cloud-phone/servers/gone/change", CHANGE), "CPH refused the call itself (CPS.0004)"),
    ):
        with pytest.raises(ApiRefused) as caught:
            deployment.register(submission=submit(*call))
        assert caught.value.status == 422
        assert message in str(caught.value)
