"""Idempotency-Key on calls whose response is stored in a step of its own.

Those that store it in the same step: test_api_registrations.py, test_api_rotation.py.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.bootstrap.stores import Stores
from app.config.settings import Settings
from app.devkit.processes import wait_until
from app.domain.access import Scope
from app.domain.delivery import DeliveryState, NextStep
from app.store.idempotency import LIFE, UNDER_WAY, Idempotency, Repeated
from tests.support.api_client import ApiCaller, problem
from tests.support.claims import claim_due
from tests.support.outcomes import end_with_outcome, only_delivery
from tests.support.receiver import Receiver

WITH_KEY = {"Idempotency-Key": "k"}
DEAD = {"state": "dead"}


def pointers(answer: Any) -> list[str]:
    return [error["pointer"] for error in problem(answer, 422)["errors"]]


def send_test_callback(api: ApiCaller, body: Any, **details: Any) -> Any:
    return api.call("POST", "/v1/callbacks/test", json=body, headers=WITH_KEY, **details)


def test_a_callback_is_tried_once_for_a_key_and_its_answer_given_again(api: ApiCaller, receiver: Receiver) -> None:
    first, again = (send_test_callback(api, {"callback_url": receiver.url}) for _ in range(2))
    assert (first.status_code, first.data) == (again.status_code, again.data) == (200, first.data)
    assert len(receiver.callbacks) == 1
    assert receiver.callbacks[0].verified_by(again.json["secret"])
    assert again.json["secret"] not in str(
        [api.runtime.stores.redis.get(key) for key in api.runtime.stores.redis.keys("cph:idem:*")]
    )


def test_a_delivery_goes_out_once_more_once_for_a_key(api: ApiCaller) -> None:
    (registration,) = end_with_outcome(api, "j1")
    path = f"/v1/deliveries/{only_delivery(api)['id']}/redeliver"
    first = api.call("POST", path, headers=WITH_KEY)
    runtime, now = api.runtime, api.runtime.stores.clock()
    (claimed,) = claim_due(runtime.stores.deliveries_due, now, 10)
    arrived = NextStep(DeliveryState.DELIVERED)
    runtime.stores.scripts.run(runtime.stores.deliveries.record(claimed, "delivered", arrived, {"id": "att_2"}))
    again = api.call("POST", path, headers=WITH_KEY)
    assert (first.status_code, first.data) == (again.status_code, again.data) == (202, first.data)
    shown = api.get(f"/v1/registrations/{registration['id']}")
    assert shown["deliveries"] == {"pending": 0, "delivered": 1, "dead": 0}


@pytest.mark.parametrize("body", [DEAD, DEAD | {"dry_run": True}])
def test_an_order_is_carried_out_once_for_a_key(api: ApiCaller, body: Any) -> None:
    end_with_outcome(api, "j1")
    first = api.call("POST", "/v1/deliveries/redeliver", json=body, headers=WITH_KEY)
    end_with_outcome(api, "j2", "j3")
    dead = api.get("/v1/deliveries?state=dead")
    again = api.call("POST", "/v1/deliveries/redeliver", json=body, headers=WITH_KEY)
    assert (first.status_code, first.json) == (again.status_code, again.json) == (202, {"count": 1})
    assert api.get("/v1/deliveries?state=dead") == dead


def test_the_same_key_for_another_body_or_path_is_refused(api: ApiCaller, receiver: Receiver) -> None:
    end_with_outcome(api, "j1", "j2")
    one, other = (item["id"] for item in api.get("/v1/deliveries")["items"])
    assert send_test_callback(api, {"callback_url": receiver.url}).status_code == 200
    key_pointer = ["/headers/Idempotency-Key"]
    assert pointers(send_test_callback(api, {"callback_url": receiver.url, "headers": {"X": "y"}})) == key_pointer
    assert pointers(api.call("POST", "/v1/deliveries/redeliver", json=DEAD, headers=WITH_KEY)) == key_pointer
    assert pointers(api.call("POST", f"/v1/deliveries/{one}/redeliver", headers=WITH_KEY)) == key_pointer
    assert pointers(api.register(headers=WITH_KEY)) == key_pointer
    another = {"Idempotency-Key": "another"}
    assert api.call("POST", f"/v1/deliveries/{one}/redeliver", headers=another).status_code == 202
    assert pointers(api.call("POST", f"/v1/deliveries/{other}/redeliver", headers=another)) == key_pointer
    assert (len(receiver.callbacks), len(api.get("/v1/deliveries?state=dead")["items"])) == (1, 1)


def test_of_two_at_once_one_is_carried_out_and_the_other_answered_409(api: ApiCaller, receiver: Receiver) -> None:
    body = {"callback_url": receiver.url}
    receiver.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(send_test_callback, api, body)
        wait_until(lambda: receiver.callbacks, what="the first call in progress")
        assert "under way" in problem(send_test_callback(api, body), 409)["detail"]
        assert pointers(send_test_callback(api, body | {"headers": {"X": "y"}})) == ["/headers/Idempotency-Key"]
        receiver.gate.set()
        first = waiting.result(10)
    assert send_test_callback(api, body).data == first.data
    assert len(receiver.callbacks) == 1


def test_of_many_at_once_one_is_carried_out(api: ApiCaller) -> None:
    end_with_outcome(api, *(f"j{number}" for number in range(20)))
    with ThreadPoolExecutor(8) as pool:
        waiting = [
            pool.submit(api.call, "POST", "/v1/deliveries/redeliver", json=DEAD, headers=WITH_KEY) for _ in range(16)
        ]
        answers = [each.result(10) for each in waiting]
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert {answer.json["count"] for answer in answers if answer.status_code == 202} == {20}


def test_an_error_is_not_kept(api: ApiCaller, receiver: Receiver) -> None:
    (registration,) = end_with_outcome(api, "j1")
    assert pointers(send_test_callback(api, {"callback_url": "http://10.0.0.1/"})) == ["/callback_url"]
    problem(api.call("POST", f"/v1/deliveries/dlv_{'0' * 26}/redeliver", headers=WITH_KEY), 404)
    api.call("DELETE", f"/v1/registrations/{registration['id']}")
    problem(api.call("POST", f"/v1/deliveries/{only_delivery(api)['id']}/redeliver", headers=WITH_KEY), 409)
    assert send_test_callback(api, {"callback_url": receiver.url}).json["verdict"] == "delivered"


def test_a_key_belongs_to_its_tenant(api: ApiCaller, receiver: Receiver) -> None:
    key = api.runtime.stores.api_keys.create("other", frozenset(Scope), api.runtime.stores.clock())
    ours, theirs = (
        send_test_callback(api, {"callback_url": receiver.url}, **details) for details in ({}, {"key": key})
    )
    assert ours.json["event_id"] != theirs.json["event_id"]
    assert len(receiver.callbacks) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
def test_a_key_that_is_none_is_pointed_at(api: ApiCaller, key: str) -> None:
    answer = api.call("POST", "/v1/deliveries/redeliver", json=DEAD, headers={"Idempotency-Key": key})
    assert pointers(answer) == ["/headers/Idempotency-Key"]


def test_a_claim_from_before_redis_clock_leapt_back_ends_in_time(stores: Stores, settings: Settings) -> None:
    idempotency = Idempotency("a" * 64, "b" * 64, "{}")
    stores.claims.claim("t", idempotency)
    (key,) = stores.redis.keys("cph:idem:*")
    stores.redis.expire(key, 86_400)
    assert stores.claims.claim("t", idempotency) == Repeated(UNDER_WAY)
    assert 0 < stores.redis.ttl(key) <= settings.lease_s
    stores.claims.keep("t", idempotency)
    assert stores.claims.claim("t", idempotency) == Repeated("{}")
    assert stores.redis.ttl(key) > 86_400


def test_a_claim_ends_by_itself_and_an_answer_after_a_day(stores: Stores, settings: Settings) -> None:
    """The process that claimed the key may end before it stores an answer."""
    idempotency = Idempotency("a" * 64, "b" * 64, '{"count": 1}')
    assert stores.claims.claim("t", idempotency) is None
    (key,) = stores.redis.keys("cph:idem:*")
    assert 0 < stores.redis.ttl(key) <= settings.lease_s
    stores.claims.keep("t", idempotency)
    assert LIFE.total_seconds() - 10 < stores.redis.ttl(key) <= LIFE.total_seconds()
    again = stores.claims.claim("t", idempotency)
    assert again is not None
    assert again.answer == idempotency.answer


def test_a_destination_is_paused_resumed_and_discarded_once_for_a_key(api: ApiCaller) -> None:
    end_with_outcome(api, "j1")
    path = "/v1/destinations/" + api.get("/v1/destinations")["items"][0]["id"]
    paused = api.call("POST", f"{path}/pause", headers=WITH_KEY)
    assert paused.json["state"] == "paused"
    assert api.call("POST", f"{path}/resume").json["state"] == "ok"
    again = api.call("POST", f"{path}/pause", headers=WITH_KEY)
    assert (again.status_code, again.data) == (200, paused.data)
    assert api.get(path)["state"] == "ok"
    for verb in ("resume", "discard"):
        assert pointers(api.call("POST", f"{path}/{verb}", headers=WITH_KEY)) == ["/headers/Idempotency-Key"]
