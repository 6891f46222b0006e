"""Registrations without a callback_url: their events appear in the feed only."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.domain.quota import Quotas
from app.store.engine import keys
from tests.support.api_client import ApiCaller, problem
from tests.support.claims import claim_due
from tests.support.feed import end_jobs, reported_jobs


def register(api: ApiCaller, job_id: str = "one", **fields: Any) -> TestResponse:
    return api.call("POST", "/v1/registrations", json={"job_id": job_id} | fields)


def registered(api: ApiCaller) -> Any:
    answer = register(api)
    assert answer.status_code == 201, answer.text
    return answer.json


def test_without_a_callback_url_events_come_by_the_feed_and_nobody_is_called(api: ApiCaller) -> None:
    made = register(api, job_ids=["one", "two"], job_id=None, notify="both").json
    assert made["callback_url"] is None
    assert "secret" not in made
    end_jobs(api, "one", "two")
    assert [event["type"] for event in api.get("/v1/events")["items"]] == ["job.succeeded"] * 2 + ["group.finished"]
    seen = api.get(f"/v1/registrations/{made['id']}")
    assert (seen["state"], seen["callback_url"]) == ("finished", None)
    assert seen["deliveries"] == {"pending": 0, "delivered": 0, "dead": 0}
    assert api.get("/v1/registrations")["items"] == [seen]
    assert api.get("/v1/deliveries")["items"] == []
    assert api.get("/v1/destinations")["items"] == []
    assert api.runtime.stores.deliveries_due.next_due_at() is None
    [event, *_] = api.get("/v1/events")["items"]
    problem(api.call("POST", f"/v1/deliveries/dlv_{event['id'].removeprefix('evt_')}/redeliver", json={}), 404)


def test_a_job_that_has_ended_already_is_reported_at_once(api: ApiCaller) -> None:
    api.registered(job_id="one")
    end_jobs(api, "one")
    registered(api)
    assert reported_jobs(api) == ["one", "one"]


def test_what_is_pulled_is_forgotten_with_the_rest(api: ApiCaller) -> None:
    made = registered(api)
    end_jobs(api, "one")
    [event] = api.get("/v1/events")["items"]
    redis, retention_s = api.runtime.stores.redis, api.runtime.settings.retention.total_seconds()
    delivery = keys.delivery("dlv_" + event["id"].removeprefix("evt_"))
    for key in (delivery, keys.registration(made["id"]), keys.progress(made["id"])):
        assert 0 < redis.ttl(key) <= retention_s


def test_it_can_be_cancelled_and_then_reports_nothing(api: ApiCaller) -> None:
    made = registered(api)
    assert api.call("DELETE", f"/v1/registrations/{made['id']}").status_code == 204
    assert api.get(f"/v1/registrations/{made['id']}")["state"] == "cancelled"
    assert not claim_due(api.runtime.stores.polls_due, api.runtime.stores.clock(), 10)
    assert api.get("/v1/events")["items"] == []


@pytest.mark.parametrize(
    ("field", "value"), [("secret", "whsec_" + "A" * 32), ("headers", {"X-Room": "ops"}), ("verify", True)]
)
def test_what_only_a_callback_has_is_refused(api: ApiCaller, field: str, value: object) -> None:
    refused = problem(register(api, **{field: value}), 422)
    assert refused["errors"] == [{"pointer": f"/{field}", "detail": "has no effect without callback_url"}]


@pytest.mark.parametrize("lost", [None, ""])
def test_a_url_that_was_lost_on_the_way_is_no_wish_to_pull(api: ApiCaller, lost: str | None) -> None:
    refused = problem(register(api, callback_url=lost), 422)
    assert refused["errors"][0]["pointer"] == "/callback_url"


def test_it_has_no_secret_to_rotate(api: ApiCaller) -> None:
    made = registered(api)
    problem(api.call("POST", f"/v1/registrations/{made['id']}/rotate-secret", json={}), 422)


def test_no_quota_of_destinations_stands_in_its_way(api: ApiCaller, monkeypatch: pytest.MonkeyPatch) -> None:
    api.registered(job_id="one")
    monkeypatch.setitem(api.runtime.config.__dict__, "_quotas", Quotas(destinations=1))
    problem(api.register(callback_url="http://127.0.0.2:9/"), 429)
    assert register(api).status_code == 201
