"""Idempotency-Key on what is not kept in one step with its answer; for the others see registrations and rotation."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.bootstrap.stores import Stores
from app.config.settings import Settings
from app.devkit.processes import wait_until
from app.domain.access import Scope
from app.domain.delivery import DeliveryState, NextStep
from app.store.idempotency import Idempotency
from tests.api.test_api_redelivery import ended, only
from tests.support.api_client import ApiCaller, problem
from tests.support.claims import claim_due
from tests.support.receiver import Receiver

KEPT = {"Idempotency-Key": "k"}
DEAD = {"state": "dead"}


def pointers(answer: Any) -> list[str]:
    return [error["pointer"] for error in problem(answer, 422)["errors"]]


def tried(api: ApiCaller, body: Any, **details: Any) -> Any:
    return api.call("POST", "/v1/callbacks/test", json=body, headers=KEPT, **details)


def test_a_callback_is_tried_once_for_a_key_and_its_answer_given_again(api: ApiCaller, receiver: Receiver) -> None:
    first, again = (tried(api, {"callback_url": receiver.url}) for _ in range(2))
    assert (first.status_code, first.data) == (again.status_code, again.data) == (200, first.data)
    assert len(receiver.callbacks) == 1
    assert receiver.callbacks[0].verified_by(again.json["secret"])
    assert again.json["secret"] not in str(
        [api.runtime.stores.redis.get(key) for key in api.runtime.stores.redis.keys("cph:idem:*")]
    )


def test_a_delivery_goes_out_once_more_once_for_a_key(api: ApiCaller) -> None:
    (registration,) = ended(api, "j1")
    path = f"/v1/deliveries/{only(api)['id']}/redeliver"
    first = api.call("POST", path, headers=KEPT)
    runtime, now = api.runtime, api.runtime.stores.clock()
    (claimed,) = claim_due(runtime.stores.deliveries_due, now, 10)
    arrived = NextStep(DeliveryState.DELIVERED)
    runtime.stores.scripts.run(runtime.stores.deliveries.record(claimed, "delivered", arrived, {"id": "att_2"}))
    again = api.call("POST", path, headers=KEPT)
    assert (first.status_code, first.data) == (again.status_code, again.data) == (202, first.data)
    shown = api.get(f"/v1/registrations/{registration['id']}")
    assert shown["deliveries"] == {"pending": 0, "delivered": 1, "dead": 0}


@pytest.mark.parametrize("body", [DEAD, DEAD | {"dry_run": True}])
def test_an_order_is_carried_out_once_for_a_key(api: ApiCaller, body: Any) -> None:
    ended(api, "j1")
    first = api.call("POST", "/v1/deliveries/redeliver", json=body, headers=KEPT)
    ended(api, "j2", "j3")
    dead = api.get("/v1/deliveries?state=dead")
    again = api.call("POST", "/v1/deliveries/redeliver", json=body, headers=KEPT)
    assert (first.status_code, first.json) == (again.status_code, again.json) == (202, {"count": 1})
    assert api.get("/v1/deliveries?state=dead") == dead


def test_the_same_key_for_another_body_or_path_is_refused(api: ApiCaller, receiver: Receiver) -> None:
    ended(api, "j1", "j2")
    one, other = (item["id"] for item in api.get("/v1/deliveries")["items"])
    assert tried(api, {"callback_url": receiver.url}).status_code == 200
    there = ["/headers/Idempotency-Key"]
    assert pointers(tried(api, {"callback_url": receiver.url, "headers": {"X": "y"}})) == there
    assert pointers(api.call("POST", "/v1/deliveries/redeliver", json=DEAD, headers=KEPT)) == there
    assert pointers(api.call("POST", f"/v1/deliveries/{one}/redeliver", headers=KEPT)) == there
    assert pointers(api.register(headers=KEPT)) == there
    another = {"Idempotency-Key": "another"}
    assert api.call("POST", f"/v1/deliveries/{one}/redeliver", headers=another).status_code == 202
    assert pointers(api.call("POST", f"/v1/deliveries/{other}/redeliver", headers=another)) == there
    assert (len(receiver.callbacks), len(api.get("/v1/deliveries?state=dead")["items"])) == (1, 1)


def test_of_two_at_once_one_is_carried_out_and_the_other_told_to_ask_again(api: ApiCaller, receiver: Receiver) -> None:
    body = {"callback_url": receiver.url}
    receiver.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(tried, api, body)
        wait_until(lambda: receiver.callbacks, what="the first under way")
        assert "under way" in problem(tried(api, body), 409)["detail"]
        assert pointers(tried(api, body | {"headers": {"X": "y"}})) == ["/headers/Idempotency-Key"]
        receiver.gate.set()
        first = held.result(10)
    assert tried(api, body).data == first.data
    assert len(receiver.callbacks) == 1


def test_of_many_at_once_one_is_carried_out(api: ApiCaller) -> None:
    ended(api, *(f"j{number}" for number in range(20)))
    with ThreadPoolExecutor(8) as pool:
        held = [pool.submit(api.call, "POST", "/v1/deliveries/redeliver", json=DEAD, headers=KEPT) for _ in range(16)]
        answers = [each.result(10) for each in held]
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert {answer.json["count"] for answer in answers if answer.status_code == 202} == {20}


def test_an_error_is_not_kept(api: ApiCaller, receiver: Receiver) -> None:
    (registration,) = ended(api, "j1")
    assert pointers(tried(api, {"callback_url": "http://10.0.0.1/"})) == ["/callback_url"]
    problem(api.call("POST", f"/v1/deliveries/dlv_{'0' * 26}/redeliver", headers=KEPT), 404)
    api.call("DELETE", f"/v1/registrations/{registration['id']}")
    problem(api.call("POST", f"/v1/deliveries/{only(api)['id']}/redeliver", headers=KEPT), 409)
    assert tried(api, {"callback_url": receiver.url}).json["verdict"] == "delivered"


def test_a_key_belongs_to_its_tenant(api: ApiCaller, receiver: Receiver) -> None:
    key = api.runtime.stores.api_keys.create("other", frozenset(Scope), api.runtime.stores.clock())
    ours, theirs = (tried(api, {"callback_url": receiver.url}, **details) for details in ({}, {"key": key}))
    assert ours.json["event_id"] != theirs.json["event_id"]
    assert len(receiver.callbacks) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
def test_a_key_that_is_none_is_pointed_at(api: ApiCaller, key: str) -> None:
    answer = api.call("POST", "/v1/deliveries/redeliver", json=DEAD, headers={"Idempotency-Key": key})
    assert pointers(answer) == ["/headers/Idempotency-Key"]


def test_a_claim_ends_by_itself_and_an_answer_after_a_day(stores: Stores, settings: Settings) -> None:
    """Its process may end in the middle."""
    asked = Idempotency("a" * 64, "b" * 64, '{"count": 1}')
    assert stores.claims.claim("t", asked) is None
    (key,) = stores.redis.keys("cph:idem:*")
    assert 0 < stores.redis.ttl(key) <= settings.lease_s
    stores.claims.keep("t", asked)
    assert 86_390 < stores.redis.ttl(key) <= 86_400
    again = stores.claims.claim("t", asked)
    assert again is not None
    assert again.answer == asked.answer


def test_a_destination_is_paused_resumed_and_dropped_once_for_a_key(api: ApiCaller) -> None:
    ended(api, "j1")
    path = "/v1/destinations/" + api.get("/v1/destinations")["items"][0]["id"]
    paused = api.call("POST", f"{path}/pause", headers=KEPT)
    assert paused.json["state"] == "paused"
    assert api.call("POST", f"{path}/resume").json["state"] == "ok"
    again = api.call("POST", f"{path}/pause", headers=KEPT)
    assert (again.status_code, again.data) == (200, paused.data)
    assert api.get(path)["state"] == "ok"
    for verb in ("resume", "discard"):
        assert pointers(api.call("POST", f"{path}/{verb}", headers=KEPT)) == ["/headers/Idempotency-Key"]
