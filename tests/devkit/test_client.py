"""The client of ./dev's programs, against a real stand-in."""

import pytest

from app.devkit.client import ApiRefused, BridgeClient
from tests.support.receiver import Receiver
from tests.support.served import Served


def test_a_call_gives_the_answer_as_json(standin: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    made = BridgeClient(standin.about["url"]).call("POST", "/_standin/jobs", {"job_id": "called"})
    assert made["jobs"][0]["job_id"] == "called"


def test_an_empty_answer_is_none() -> None:
    with Receiver() as receiver:
        assert BridgeClient(receiver.url, key="k").call("POST", "", {}) is None
        assert receiver.callbacks[0].headers["authorization"] == "Bearer k"


def test_a_refusal_names_the_call_and_the_answer(standin: Served) -> None:
    with pytest.raises(
        ApiRefused, match=r"POST http://127\.0\.0\.1:\d+/_standin/faults was answered 422: .*kind"
    ) as error:
        BridgeClient(standin.about["url"]).call("POST", "/_standin/faults", {"kind": "earthquake"})
    assert error.value.status == 422
    assert "earthquake" in error.value.body
