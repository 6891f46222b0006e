"""Deliver once more, by the API."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from app.domain.access import Scope
from app.domain.delivery import Death, DeliveryState, NextStep
from app.domain.job import Job, JobState
from app.domain.times import to_ms
from app.domain.verdict import Verdict
from tests.support.api_client import ApiCaller, problem
from tests.support.claims import claim_due

SOON = timedelta(seconds=1)
HERE = "http://127.0.0.1:9"
DEAD = NextStep(DeliveryState.DEAD, death=Death.TRIES)


def ended(api: ApiCaller, *job_ids: str, follows: NextStep = DEAD, **fields: Any) -> list[dict[str, Any]]:
    """Registrations whose job has ended and whose delivery came to this; as callers see them."""
    made = [api.registered(job_id=job_id, **fields) for job_id in job_ids]
    runtime, now = api.runtime, api.runtime.stores.clock() + SOON
    runtime.stores.scripts.run(runtime.stores.polls_due.set_rate("default", 10_000))
    for claimed in claim_due(runtime.stores.polls_due, now, 1000):
        runtime.stores.scripts.run(runtime.stores.watches.complete(claimed, Job(claimed.id, JobState.SUCCEEDED), now))
    now += SOON
    while claimed := claim_due(runtime.stores.deliveries_due, now, 1000):
        for begun in runtime.stores.deliveries.begin(claimed, now + SOON):
            line = {"id": "att_1", "number": 1, "started_at": to_ms(now), "took_ms": 1, "verdict": "retry"}
            runtime.stores.scripts.run(runtime.stores.deliveries.record(begun.claimed, Verdict.RETRY, follows, line))
    return made


def only(api: ApiCaller, query: str = "") -> dict[str, Any]:
    (delivery,) = api.get(f"/v1/deliveries{query}")["items"]
    return delivery


def count_of(api: ApiCaller, **body: Any) -> int:
    answer = api.call("POST", "/v1/deliveries/redeliver", json={"state": "dead", **body})
    assert answer.status_code == 202, answer.text
    assert answer.json.keys() == {"count"}
    return int(answer.json["count"])


@pytest.mark.parametrize("follows", [DEAD, NextStep(DeliveryState.DELIVERED), NextStep(DeliveryState.PENDING)])
def test_a_delivery_is_sent_once_more(api: ApiCaller, follows: NextStep) -> None:
    if follows.state is DeliveryState.PENDING:
        follows = NextStep(DeliveryState.PENDING, api.runtime.stores.clock() + timedelta(hours=1))
    (registration,) = ended(api, "j1", follows=follows)
    before = only(api)
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
    (registration,) = ended(api, "j1")
    shown = only(api, "?state=dead")
    assert "try of the schedule" in shown["reason"]
    assert api.get(f"/v1/deliveries/{shown['id']}")["reason"] == shown["reason"]
    assert api.get(f"/v1/registrations/{registration['id']}")["deliveries"]["dead"] == 1


def test_what_is_cancelled_is_not_sent_again(api: ApiCaller) -> None:
    (registration,) = ended(api, "j1")
    api.call("DELETE", f"/v1/registrations/{registration['id']}")
    answer = api.call("POST", f"/v1/deliveries/{only(api)['id']}/redeliver")
    assert "cancelled" in problem(answer, 409)["detail"]
    assert count_of(api) == 0
    assert only(api)["state"] == "dead"


@pytest.mark.parametrize("id", ["dlv_" + "0" * 26, "dlv_x", "redeliver"])
def test_an_unknown_delivery_is_answered_404(api: ApiCaller, id: str) -> None:
    problem(api.call("POST", f"/v1/deliveries/{id}/redeliver"), 404)


def test_redelivering_needs_a_scope_of_its_own(api: ApiCaller) -> None:
    ended(api, "j1")
    path = f"/v1/deliveries/{only(api)['id']}/redeliver"
    now = api.runtime.stores.clock()
    others = api.runtime.stores.api_keys.create(
        "default", frozenset(Scope) - {Scope.DELIVERIES_WRITE, Scope.ADMIN}, now, None
    )
    bulk = {"path": "/v1/deliveries/redeliver", "json": {"state": "dead"}}
    for call in ({"path": path}, bulk):
        assert Scope.DELIVERIES_WRITE in problem(api.call("POST", key=others, **call), 403)["detail"]
    own = api.runtime.stores.api_keys.create("default", frozenset({Scope.DELIVERIES_WRITE}), now, None)
    assert api.call("POST", key=own, **bulk).status_code == 202
    problem(api.register(key=own), 403)


def test_another_tenants_delivery_is_not_there(api: ApiCaller) -> None:
    ended(api, "j1")
    other = api.runtime.stores.api_keys.create("acme", frozenset({Scope.ADMIN}), api.runtime.stores.clock(), None)
    problem(api.call("POST", f"/v1/deliveries/{only(api)['id']}/redeliver", key=other), 404)
    answer = api.call("POST", "/v1/deliveries/redeliver", key=other, json={"state": "dead"})
    assert answer.json == {"count": 0}


def test_many_are_chosen_as_the_list_is_filtered(api: ApiCaller) -> None:
    first, _ = ended(api, "j1", "j2")
    ended(api, "j3", callback_url="http://127.0.0.2:9/")
    ended(api, "j4", follows=NextStep(DeliveryState.DELIVERED))
    oldest = api.get("/v1/deliveries")["items"][-1]["created_at"]
    for chosen, count in (
        ({}, 3),
        ({"registration_id": first["id"]}, 1),
        ({"destination": HERE}, 2),
        ({"destination": "http://127.0.0.2:9"}, 1),
        ({"destination": "http://127.0.0.3:9"}, 0),
        ({"since": oldest}, 3),
        ({"until": oldest}, 0),
        ({"since": "9999-01-01T00:00:00Z"}, 0),
        ({"until": "9999-01-01T00:00:00Z", "destination": HERE, "registration_id": first["id"]}, 1),
    ):
        assert count_of(api, dry_run=True, **chosen) == count, chosen
        query = "&".join(["limit=200", "state=dead", *(f"{name}={value}" for name, value in chosen.items())])
        assert len(api.get(f"/v1/deliveries?{query}")["items"]) == count, chosen
    assert count_of(api, destination=HERE) == 2
    assert count_of(api) == 1
    assert count_of(api) == 0


def test_many_do_not_fall_due_at_once(api: ApiCaller) -> None:
    ended(api, *(f"j{number}" for number in range(30)))
    ended(api, "elsewhere", callback_url="http://127.0.0.2:9/")
    assert count_of(api) == 31
    due = [item["next_at"] for item in api.get("/v1/deliveries?limit=200")["items"] if item["destination"] == HERE]
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
    (registration,) = ended(api, "j1")
    pattern = redis.hgetall(f"cph:dlv:{only(api)['id']}")
    pipeline = redis.pipeline(transaction=False)
    for number in range(1_200):
        id = f"dlv_{number:026d}"
        pipeline.hset(f"cph:dlv:{id}", mapping=pattern)
        pipeline.zadd("cph:dlvs:default", {f"{to_ms(now) + number:013d}:{id}": 0})
    pipeline.hincrby(f"cph:{registration['id']}:progress", "dead", 1_200)
    pipeline.execute()
    assert count_of(api, dry_run=True) == 1_201
    assert count_of(api) == 1_201
    shown = api.get(f"/v1/registrations/{registration['id']}")
    assert shown["deliveries"] == {"pending": 1_201, "delivered": 0, "dead": 0}
