"""CPH's answers to what starts jobs, handed over as they came, in every shape, up to the callbacks."""

from typing import Any

import pytest
import requests

from app.devkit.client import ApiRefused
from tests.whole.conftest import Whole

PHONES = "/v1/{}/cloud-phone/phones"
TWO_PHONES = {"phones": [{"phone_id": "p1"}, {"phone_id": "gone"}]}
SYNCHRONOUS = {"command": "shell", "content": "date", "phone_ids": ["p1", "gone"]}
CHANGE = {"phone_model_name": "m"}


@pytest.fixture
def submit(whole: Whole):
    """CPH's answer to a call: what names `gone` is refused at once, all else takes a second and fails."""
    script = {"duration_s": 1, "outcome": "failed", "error_code": "CPS.0005"}
    whole.standin.call("POST", "/_standin/submissions", {"script": script, "refused": ["gone"]})

    def call(method: str, path: str, body: object) -> dict[str, Any]:
        url = whole.about_cph["url"] + path.format(whole.about_cph["project_id"])
        headers = {"X-Auth-Token": whole.about_cph["token"]}
        answer: dict[str, Any] = requests.request(method, url, json=body, headers=headers, timeout=10).json()
        return answer

    yield call
    whole.standin.call("DELETE", "/_standin/faults")


@pytest.mark.slow
def test_every_answer_that_starts_jobs_is_told_of_to_the_last_job(workers, submit) -> None:
    calls = [
        ("POST", f"{PHONES}/batch-restart", TWO_PHONES, ["p1", "gone"]),
        ("POST", f"{PHONES}/sync-commands", SYNCHRONOUS, ["p1", "gone"]),
        ("POST", "/v1/{}/cloud-phone/servers/batch-restart", {"server_ids": ["s1", "s2"]}, ["s1", "s2"]),
        ("POST", "/v1/{}/cloud-phone/encode-servers/batch-restart", {"encode_server_ids": ["s1"]}, ["s1"]),
        ("POST", "/v2/{}/cloud-phone/servers/s1/change", CHANGE, ["s1"]),
        ("DELETE", "/v2/{}/cloud-phone/servers", {"server_ids": ["s1"]}, ["s1"]),
    ]
    answers = {workers.register(submission=submit(*call), notify="all")["id"]: about for *call, about in calls}
    workers.receiver.wait_for(len(calls))
    told = {
        callback.event["data"]["registration_id"]: callback.event["data"] for callback in workers.receiver.callbacks
    }
    for id, about in answers.items():
        ends = {job["phone_id"] or job["server_id"]: (job["error_code"], not job["job_id"]) for job in told[id]["jobs"]}
        assert ends == {each: ("CPS.0004", True) if each == "gone" else ("CPS.0005", False) for each in about}
        assert told[id]["group"] | {"total": len(about), "failed": len(about)} == told[id]["group"]
    assert set(workers.receiver.ids().values()) == {1}


def test_answers_that_start_no_job_are_refused_with_the_reason(whole, submit) -> None:
    order = {"server_model_name": "m", "server_id": "s1"}
    for call, words in (
        (("POST", "/v2/{}/cloud-phone/servers", order), "an order is not a job"),
        (("POST", f"{PHONES}/batch-restart", {}), "CPH refused the call itself (CPS.0002)"),
        (("POST", "/v2/{}/cloud-phone/servers/gone/change", CHANGE), "CPH refused the call itself (CPS.0004)"),
    ):
        with pytest.raises(ApiRefused) as caught:
            whole.register(submission=submit(*call))
        assert caught.value.status == 422
        assert words in str(caught.value)
