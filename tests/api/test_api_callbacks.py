"""POST /v1/callbacks/test: the API sends one test callback and returns the attempt."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.bootstrap.runtime import Runtime
from app.devkit.processes import wait_until
from app.domain.access import Scope
from tests.conftest import SECRET
from tests.support.api_client import ApiCaller, problem
from tests.support.receiver import Receiver


def send_test_callback(api: ApiCaller, **body: Any) -> Any:
    answer = api.call("POST", "/v1/callbacks/test", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json


def test_one_callback_goes_out_as_a_delivery_does(api: ApiCaller, receiver: Receiver) -> None:
    answer = send_test_callback(api, callback_url=receiver.url, secret=SECRET, headers={"Authorization": "Bearer t"})
    (callback,) = receiver.callbacks
    assert callback.verified_by(SECRET)
    assert callback.headers["authorization"] == "Bearer t"
    assert callback.headers["bridge-attempt"] == "1"
    assert callback.event.pop("timestamp").endswith("Z")
    assert callback.event["type"] == "callback.test"
    data = callback.event["data"]
    assert data.pop("observed_at") == callback.event["timestamp"]
    assert data == {"registration_id": None, "project": None, "metadata": {}}
    assert answer["event_id"] == callback.event["id"] == callback.id
    assert (answer["number"], answer["verdict"], answer["status_code"]) == (1, "delivered", 200)
    assert answer["secret"] is None
    assert api.get("/v1/deliveries")["items"] == []


def test_a_secret_is_made_if_none_is_given(api: ApiCaller, receiver: Receiver) -> None:
    answer = send_test_callback(api, callback_url=receiver.url)
    assert receiver.callbacks[0].verified_by(answer["secret"])


@pytest.mark.parametrize(("status", "verdict"), [(404, "refused"), (410, "gone"), (503, "retry"), (302, "refused")])
def test_the_outcome_is_reported(api: ApiCaller, receiver: Receiver, status: int, verdict: str) -> None:
    receiver.statuses = [(status, {})]
    answer = send_test_callback(api, callback_url=receiver.url)
    assert (answer["verdict"], answer["status_code"], answer["next_at"]) == (verdict, status, None)
    assert len(receiver.callbacks) == 1


def test_nobody_there_is_an_answer(api: ApiCaller) -> None:
    answer = send_test_callback(api, callback_url="http://127.0.0.1:9/")
    assert (answer["verdict"], answer["status_code"]) == ("retry", None)
    assert answer["error"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/callback_url"),
        ({"callback_url": "http://10.0.0.1/"}, "/callback_url"),
        ({"callback_url": "https://bot.example/", "secret": "x"}, "/secret"),
        ({"callback_url": "https://bot.example/", "headers": {"Host": "x"}}, "/headers/Host"),
        ({"callback_url": "https://bot.example/", "headers": {"webhook-id": "x"}}, "/headers/webhook-id"),
        ({"callback_url": "https://bot.example/", "metadata": {}}, "/metadata"),
    ],
)
def test_what_is_wrong_is_named(api: ApiCaller, body: dict[str, Any], pointer: str) -> None:
    answer = problem(api.call("POST", "/v1/callbacks/test", json=body), 422)
    assert [error["pointer"] for error in answer["errors"]] == [pointer]


def test_it_needs_the_scope_of_registering(api: ApiCaller, receiver: Receiver) -> None:
    scopes = frozenset({Scope.REGISTRATIONS_READ, Scope.DELIVERIES_WRITE})
    key = api.runtime.stores.api_keys.create("default", scopes, api.runtime.stores.clock(), None)
    problem(api.call("POST", "/v1/callbacks/test", key=key, json={"callback_url": receiver.url}), 403)
    assert receiver.callbacks == []


def test_slow_receivers_leave_room_for_others(api: ApiCaller, receiver: Receiver) -> None:
    """Test callbacks occupy at most half of the API's eight threads."""
    receiver.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(send_test_callback, api, callback_url=receiver.url) for _ in range(4)]
        wait_until(lambda: len(receiver.callbacks) == 4, what="four test callbacks in progress")
        answer = api.call("POST", "/v1/callbacks/test", json={"callback_url": receiver.url})
        problem(answer, 429)
        assert int(answer.headers["Retry-After"]) == 10
        receiver.gate.set()
        assert {each.result(10)["verdict"] for each in waiting} == {"delivered"}
    assert send_test_callback(api, callback_url=receiver.url)["verdict"] == "delivered"


def test_a_test_that_succeeds_opens_a_url_that_was_gone(api: ApiCaller, receiver: Receiver) -> None:
    runtime: Runtime = api.runtime
    registration = api.registered(callback_url=receiver.url)
    path = f"/v1/registrations/{registration['id']}"
    assert api.get(path)["callback_gone"] is False
    runtime.stores.scripts.run(runtime.stores.gone_urls.add("default", receiver.url, runtime.stores.clock()))
    assert api.get(path)["callback_gone"] is True
    receiver.statuses = [(500, {})]
    send_test_callback(api, callback_url=receiver.url)
    assert api.get(path)["callback_gone"] is True
    send_test_callback(api, callback_url=receiver.url)
    assert api.get(path)["callback_gone"] is False


def test_a_registration_says_whether_its_callback_was_tried(api: ApiCaller) -> None:
    tested, other = api.registered(verify=True), api.registered()
    (delivery,) = api.get("/v1/deliveries")["items"]
    assert (delivery["type"], delivery["job_id"], delivery["registration_id"]) == ("callback.test", None, tested["id"])
    for each in (tested, other):
        shown = api.get(f"/v1/registrations/{each['id']}")
        assert (shown["callback_verified"], shown["callback_verdict"]) == (None, None)


def test_a_callback_test_cannot_be_chosen_as_an_event(api: ApiCaller) -> None:
    problem(api.register(events=["callback.test"]), 422)


def test_no_secret_is_logged(api: ApiCaller, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="bridge")
    send_test_callback(api, callback_url=receiver.url, secret=SECRET, headers={"Authorization": "canary-header"})
    lines = str([record.__dict__ for record in caplog.records])
    assert "audit" in lines
    assert not [secret for secret in (SECRET, "canary-header", "s3cret-path") if secret in lines]
