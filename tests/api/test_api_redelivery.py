"""Redelivery by API: of one delivery, and of all dead ones that match filters."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from app.domain.access import Scope
from app.domain.delivery import DeliveryState, NextStep
from app.domain.times import to_ms
from tests.support.api_client import ApiCaller, problem
from tests.support.claims import claim_due
from tests.support.outcomes import DEAD, end_with_outcome, only_delivery

DESTINATION = "http://127.0.0.1:9"


def redeliver_dead(api: ApiCaller, **body: Any) -> int:
    """Returns how many deliveries were chosen."""
    answer = api.call("POST", "/v1/deliveries/redeliver", json={"state": "dead", **body})
    assert answer.status_code == 202, answer.text
    assert answer.json.keys() == {"count"}
    return int(answer.json["count"])


@pytest.mark.parametrize("next_step", [DEAD, NextStep(DeliveryState.DELIVERED), NextStep(DeliveryState.PENDING)])
def test_a_delivery_is_sent_once_more(api: ApiCaller, next_step: NextStep) -> None:
    if next_step.state is DeliveryState.PENDING:
        next_step = NextStep(DeliveryState.PENDING, api.runtime.stores.clock() + timedelta(hours=1))
    (registration,) = end_with_outcome(api, "j1", next_step=next_step)
    before = only_delivery(api)
    answer = api.call("POST", f"/v1/deliveries/{before['id']}/redeliver")
    assert answer.status_code == 202
    assert answer.json["state"] == "pending"
    assert answer.json["event_id"] == before["event_id"]
    assert answer.json["reason"] is None
    assert len(answer.json["attempts"]) == 1
    shown = api.get(f"/v1/registrations/{registration['id']}")
    assert shown["deliveries"] == {"pending": 1, "delivered": 0, "dead": 0}
    assert claim_due(api.runtime.stores.deliveries_due, api.runtime.stores.clock(), 10)[0].id == before["id"]


def test_a_dead_delivery_is_listed_counted_and_explained(api: ApiCaller) -> None:
    (registration,) = end_with_outcome(api, "j1")
    shown = only_delivery(api, "?state=dead")
    assert "attempt of the retry schedule" in shown["reason"]
    assert api.get(f"/v1/deliveries/{shown['id']}")["reason"] == shown["reason"]
    assert api.get(f"/v1/registrations/{registration['id']}")["deliveries"]["dead"] == 1


def test_what_is_cancelled_is_not_sent_again(api: ApiCaller) -> None:
    (registration,) = end_with_outcome(api, "j1")
    api.call("DELETE", f"/v1/registrations/{registration['id']}")
    answer = api.call("POST", f"/v1/deliveries/{only_delivery(api)['id']}/redeliver")
    assert "cancelled" in problem(answer, 409)["detail"]
    assert redeliver_dead(api) == 0
    assert only_delivery(api)["state"] == "dead"


@pytest.mark.parametrize("id", ["dlv_" + "0" * 26, "dlv_x", "redeliver"])
def test_an_unknown_delivery_is_answered_404(api: ApiCaller, id: str) -> None:
    problem(api.call("POST", f"/v1/deliveries/{id}/redeliver"), 404)


def test_redelivering_needs_a_scope_of_its_own(api: ApiCaller) -> None:
    end_with_outcome(api, "j1")
    path = f"/v1/deliveries/{only_delivery(api)['id']}/redeliver"
    now = api.runtime.stores.clock()
    other_key = api.runtime.stores.api_keys.create(
        "default", frozenset(Scope) - {Scope.DELIVERIES_WRITE, Scope.ADMIN}, now, None
    )
    bulk = {"path": "/v1/deliveries/redeliver", "json": {"state": "dead"}}
    for call in ({"path": path}, bulk):
        assert Scope.DELIVERIES_WRITE in problem(api.call("POST", key=other_key, **call), 403)["detail"]
    own_key = api.runtime.stores.api_keys.create("default", frozenset({Scope.DELIVERIES_WRITE}), now, None)
    assert api.call("POST", key=own_key, **bulk).status_code == 202
    problem(api.register(key=own_key), 403)


def test_another_tenants_delivery_is_not_there(api: ApiCaller) -> None:
    end_with_outcome(api, "j1")
    other = api.runtime.stores.api_keys.create("acme", frozenset({Scope.ADMIN}), api.runtime.stores.clock(), None)
    problem(api.call("POST", f"/v1/deliveries/{only_delivery(api)['id']}/redeliver", key=other), 404)
    answer = api.call("POST", "/v1/deliveries/redeliver", key=other, json={"state": "dead"})
    assert answer.json == {"count": 0}


def test_many_are_chosen_as_the_list_is_filtered(api: ApiCaller) -> None:
    first, _ = end_with_outcome(api, "j1", "j2")
    end_with_outcome(api, "j3", callback_url="http://127.0.0.2:9/")
    end_with_outcome(api, "j4", next_step=NextStep(DeliveryState.DELIVERED))
    oldest = api.get("/v1/deliveries")["items"][-1]["created_at"]
    for filters, count in (
        ({}, 3),
        ({"registration_id": first["id"]}, 1),
        ({"destination": DESTINATION}, 2),
        ({"destination": "http://127.0.0.2:9"}, 1),
        ({"destination": "http://127.0.0.3:9"}, 0),
        ({"since": oldest}, 3),
        ({"until": oldest}, 0),
        ({"since": "9999-01-01T00:00:00Z"}, 0),
        ({"until": "9999-01-01T00:00:00Z", "destination": DESTINATION, "registration_id": first["id"]}, 1),
    ):
        assert redeliver_dead(api, dry_run=True, **filters) == count, filters
        query = "&".join(["limit=200", "state=dead", *(f"{name}={value}" for name, value in filters.items())])
        assert len(api.get(f"/v1/deliveries?{query}")["items"]) == count, filters
    assert redeliver_dead(api, destination=DESTINATION) == 2
    assert redeliver_dead(api) == 1
    assert redeliver_dead(api) == 0


def test_many_do_not_fall_due_at_once(api: ApiCaller) -> None:
    end_with_outcome(api, *(f"j{number}" for number in range(30)))
    end_with_outcome(api, "elsewhere", callback_url="http://127.0.0.2:9/")
    assert redeliver_dead(api) == 31
    items = api.get("/v1/deliveries?limit=200")["items"]
    due = [item["next_at"] for item in items if item["destination"] == DESTINATION]
    assert (len(due), max(Counter(due).values())) == (30, 10)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/state"),
        ({"state": "delivered"}, "/state"),
        ({"state": "dead", "dry_run": "yes"}, "/dry_run"),
        ({"state": "dead", "since": "yesterday"}, "/since"),
        ({"state": "dead", "tenant": "acme"}, "/tenant"),
    ],
)
def test_what_is_wrong_with_an_order_is_named(api: ApiCaller, body: dict[str, Any], pointer: str) -> None:
    answer = problem(api.call("POST", "/v1/deliveries/redeliver", json=body), 422)
    assert [error["pointer"] for error in answer["errors"]] == [pointer]


def test_more_than_one_page_is_redelivered(api: ApiCaller) -> None:
    redis, now = api.runtime.stores.redis, api.runtime.stores.clock()
    (registration,) = end_with_outcome(api, "j1")
    dead_delivery = redis.hgetall(f"cph:dlv:{only_delivery(api)['id']}")
    pipeline = redis.pipeline(transaction=False)
    for number in range(1_200):
        id = f"dlv_{number:026d}"
        pipeline.hset(f"cph:dlv:{id}", mapping=dead_delivery)
        pipeline.zadd("cph:dlvs:default", {f"{to_ms(now) + number:013d}:{id}": 0})
    pipeline.hincrby(f"cph:{registration['id']}:progress", "dead", 1_200)
    pipeline.execute()
    assert redeliver_dead(api, dry_run=True) == 1_201
    assert redeliver_dead(api) == 1_201
    shown = api.get(f"/v1/registrations/{registration['id']}")
    assert shown["deliveries"] == {"pending": 1_201, "delivered": 0, "dead": 0}
