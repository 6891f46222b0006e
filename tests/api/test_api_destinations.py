"""/v1/destinations: list, show, pause, resume, and discard held deliveries."""

import pytest

from app.domain.access import Scope
from app.domain.destination import lane_of
from app.domain.times import rfc3339, to_ms
from app.store.engine import keys
from tests.support.api_client import ApiCaller, problem

REFUSED = {"request_id": "r", "jobs": [{"phone_id": "p", "error_code": "CPS.0004"}]}
LANE = lane_of("default", "http://127.0.0.1:9")


@pytest.fixture
def destination_path(api: ApiCaller) -> str:
    """The path of a destination with a due delivery."""
    api.registered(job_id=None, submission=REFUSED)
    return "/v1/destinations/" + api.get("/v1/destinations")["items"][0]["id"]


def post(api: ApiCaller, path: str, **details: str) -> dict:
    answer = api.call("POST", path, **details)
    assert answer.status_code == 200, answer.text
    return answer.json


def test_a_destination_is_shown_with_how_it_fares(api: ApiCaller, destination_path: str) -> None:
    now = api.runtime.stores.clock()
    then = to_ms(now) + 3_600_000
    failing = {"failures": 7, "failing_since": then, "failed": then, "failure": "HTTP 503", "answered": then}
    api.runtime.stores.redis.hset(keys.lane("deliver", LANE), mapping=failing | {"refusals": 2, "not_before": then})
    shown = api.get(destination_path)
    moment = rfc3339(now.fromtimestamp(then / 1000, now.tzinfo))
    assert shown.pop("last_registered_at") <= rfc3339(api.runtime.stores.clock())
    assert shown == {
        "id": destination_path.rpartition("/")[2],
        "destination": "http://127.0.0.1:9",
        "format": None,
        "state": "failing",
        "held_since": None,
        "breaker": "open",
        "next_try_at": moment,
        "failures": 7,
        "failing_since": moment,
        "last_answer_at": moment,
        "last_error": {"at": moment, "reason": "HTTP 503"},
        "concurrency": 1,
        "deliveries": 1,
    }


def test_the_path_of_a_callback_is_not_shown(api: ApiCaller, destination_path: str) -> None:
    assert "s3cret" not in api.call("GET", "/v1/destinations").text


def test_a_paused_destination_holds_its_deliveries_until_it_is_resumed(api: ApiCaller, destination_path: str) -> None:
    paused = post(api, f"{destination_path}/pause")
    assert (paused["state"], paused["deliveries"]) == ("paused", 1)
    assert post(api, f"{destination_path}/pause")["held_since"] == paused["held_since"]
    (held,) = api.get("/v1/deliveries?state=held")["items"]
    assert api.get(f"/v1/deliveries/{held['id']}")["state"] == "held"
    assert api.get("/v1/deliveries?state=pending")["items"] == []
    resumed = post(api, f"{destination_path}/resume")
    assert (resumed["state"], resumed["held_since"]) == ("ok", None)
    assert api.get("/v1/deliveries?state=held")["items"] == []
    assert len(api.get("/v1/deliveries?state=pending")["items"]) == 1


def test_held_deliveries_can_be_discarded(api: ApiCaller, destination_path: str) -> None:
    assert post(api, f"{destination_path}/discard") == {"discarded": 0}
    post(api, f"{destination_path}/pause")
    assert post(api, f"{destination_path}/discard") == {"discarded": 1}
    assert api.get("/v1/deliveries?state=dead")["items"][0]["next_at"] is None
    (registration,) = api.get("/v1/registrations")["items"]
    assert registration["deliveries"] == {"pending": 0, "delivered": 0, "dead": 1}


def test_a_cancelled_registration_has_no_held_deliveries(api: ApiCaller, destination_path: str) -> None:
    post(api, f"{destination_path}/pause")
    (registration,) = api.get("/v1/registrations")["items"]
    assert api.call("DELETE", f"/v1/registrations/{registration['id']}").status_code == 204
    assert api.get("/v1/deliveries?state=held")["items"] == []
    assert post(api, f"{destination_path}/discard") == {"discarded": 0}


def test_it_is_logged_when_a_disabled_one_is_reopened(
    api: ApiCaller, destination_path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="bridge")
    lane = {"held": 1, "held_why": "disabled", "failing_since": 1, "failures": 9}
    api.runtime.stores.redis.hset(keys.lane("deliver", LANE), mapping=lane)
    assert api.get(destination_path)["state"] == "disabled"
    post(api, f"{destination_path}/resume")
    assert [record.fields for record in caplog.records if record.message == "destination.reopened"] == [
        {"tenant": "default", "destination": "http://127.0.0.1:9"}
    ]


@pytest.mark.parametrize("action", ["", "/pause", "/resume", "/discard"])
def test_that_of_another_tenant_is_not_there(api: ApiCaller, destination_path: str, action: str) -> None:
    stranger = api.runtime.stores.api_keys.create("stranger", frozenset(Scope), api.runtime.stores.clock())
    problem(api.call("POST" if action else "GET", destination_path + action, key=stranger), 404)
    assert api.get("/v1/destinations", key=stranger)["items"] == []
    assert api.get(destination_path)["state"] == "ok"


@pytest.mark.parametrize("id", ["dst_0123456789abcdef", "dst_x", "x"])
def test_what_is_no_destination_is_not_there(api: ApiCaller, id: str) -> None:
    problem(api.call("POST", f"/v1/destinations/{id}/pause"), 404)


def test_pausing_needs_the_scope_for_deliveries(api: ApiCaller, destination_path: str) -> None:
    keys_by_scope = {
        scope: api.runtime.stores.api_keys.create("default", frozenset({scope}), api.runtime.stores.clock())
        for scope in Scope
    }
    post(api, f"{destination_path}/pause", key=keys_by_scope[Scope.DELIVERIES_WRITE])
    problem(api.call("POST", f"{destination_path}/resume", key=keys_by_scope[Scope.REGISTRATIONS_WRITE]), 403)
    assert api.get(destination_path, key=keys_by_scope[Scope.REGISTRATIONS_READ])["state"] == "paused"


def test_a_list_goes_on_where_the_cursor_says(api: ApiCaller) -> None:
    for port in range(9, 12):
        api.registered(callback_url=f"http://127.0.0.1:{port}/x")
    first = api.get("/v1/destinations?limit=2")
    second = api.get(f"/v1/destinations?limit=2&cursor={first['next_cursor']}")
    assert [len(page["items"]) for page in (first, second)] == [2, 1]
    assert second["next_cursor"] is None
    problem(api.call("GET", "/v1/destinations?cursor=eA=="), 422)
