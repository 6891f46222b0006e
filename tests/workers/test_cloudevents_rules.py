"""The CloudEvents webhook handshake: the bridge asks for permission first, and keeps to the allowed rate."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.domain.delivery import DeliveryState
from app.domain.destination import lane_of
from app.store.engine import keys
from tests.support.api_client import ApiCaller
from tests.support.receiver import Receiver
from workers.delivery.deliver import DeliveryWorker

SECOND = timedelta(seconds=1)
ORIGIN = "bridge.example"
ALLOWED = {"WebHook-Allowed-Origin": ORIGIN, "WebHook-Allowed-Rate": "120"}


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load(environment | {"BRIDGE_CLOUDEVENTS_HANDSHAKE": "true", "BRIDGE_CLOUDEVENTS_ORIGIN": ORIGIN})


@pytest.fixture
def make_attempt(
    delivery_worker: DeliveryWorker, run_due, make_ended_registration, receiver: Receiver, delivery_log
) -> Callable[[dict[str, str]], dict[str, Any]]:
    """Makes one attempt at a receiver that gives this answer to OPTIONS. Returns the attempt's log entry."""

    def make(answer: dict[str, str], status: int = 200) -> dict[str, Any]:
        receiver.options = (status, answer)
        make_ended_registration(format="cloudevents", headers={"Authorization": "Bearer t"})
        run_due(delivery_worker)
        return delivery_log()[1][-1]

    return make


def test_a_receiver_is_asked_before_the_first_callback(make_attempt, receiver: Receiver) -> None:
    assert make_attempt(ALLOWED)["verdict"] == "delivered"
    asked, (callback,) = receiver.asked[0], receiver.callbacks
    assert asked["webhook-request-origin"] == ORIGIN
    assert int(asked["webhook-request-rate"]) > 0
    assert asked["authorization"] == "Bearer t"
    assert callback.headers["content-type"] == "application/cloudevents+json"
    assert callback.event["specversion"] == "1.0"


@pytest.mark.parametrize("origin", ["*", ORIGIN, ORIGIN.upper()])
def test_it_may_allow_everybody_or_us(make_attempt, origin: str) -> None:
    assert make_attempt({"WebHook-Allowed-Origin": origin})["verdict"] == "delivered"


@pytest.mark.parametrize(
    ("status", "answer", "verdict", "expected_error"),
    [
        (200, {}, "refused", "lacks WebHook-Allowed-Origin"),
        (200, {"WebHook-Allowed-Origin": "other.example"}, "refused", "but not from"),
        (405, ALLOWED, "refused", "405"),
        (302, ALLOWED, "refused", "302"),
        (503, ALLOWED, "retry", "503"),
    ],
)
def test_without_leave_nothing_is_sent_and_the_log_says_why(
    make_attempt, receiver: Receiver, status: int, answer: dict[str, str], verdict: str, expected_error: str
) -> None:
    attempt = make_attempt(answer, status)
    assert (attempt["verdict"], attempt["status_code"]) == (verdict, status)
    assert expected_error in attempt["error"]
    assert receiver.callbacks == []


def test_leave_is_remembered_for_a_while(
    make_attempt,
    delivery_worker: DeliveryWorker,
    run_due,
    make_ended_registration,
    receiver: Receiver,
    stores: Stores,
    clock,
) -> None:
    make_attempt(ALLOWED)
    clock.now += 2 * SECOND
    make_ended_registration("job-2", format="cloudevents")
    run_due(delivery_worker)
    assert (len(receiver.asked), len(receiver.callbacks)) == (1, 2)
    [name] = stores.redis.keys(keys.handshake("t", "*"))
    assert 0 < stores.redis.ttl(name) <= 86_400
    assert "s3cret" not in name
    stores.redis.delete(name)
    clock.now += 2 * SECOND
    make_ended_registration("job-3", format="cloudevents")
    run_due(delivery_worker)
    assert (len(receiver.asked), len(receiver.callbacks)) == (2, 3)


def test_what_it_allows_a_minute_is_the_rate_of_its_lane(make_attempt, stores: Stores, clock) -> None:
    make_attempt(ALLOWED)
    (budget,) = stores.deliveries_due.budgets([lane_of("t", "here")], clock())
    assert budget.rate == 2.0


@pytest.mark.parametrize("rate", ["*", "many", "0", "", "9" * 400, "9" * 5_000])
def test_no_limit_is_none(make_attempt, runtime: Runtime, clock, rate: str) -> None:
    assert make_attempt(ALLOWED | {"WebHook-Allowed-Rate": rate})["verdict"] == "delivered"
    (budget,) = runtime.stores.deliveries_due.budgets([lane_of("t", "here")], clock())
    assert budget.rate == runtime.settings.destination_rate


def test_other_formats_and_deployments_do_not_ask(
    delivery_worker: DeliveryWorker, run_due, make_ended_registration, receiver: Receiver
) -> None:
    make_ended_registration(format="standard")
    run_due(delivery_worker)
    assert (len(receiver.asked), len(receiver.callbacks)) == (0, 1)


def test_who_asks_for_patience_or_is_gone_is_heard(
    delivery_worker: DeliveryWorker, run_due, make_ended_registration, receiver: Receiver, clock, delivery_log
) -> None:
    receiver.options = (200, ALLOWED)
    make_ended_registration(format="cloudevents")
    receiver.statuses = [(429, {"Retry-After": "90"}), (410, {})]
    run_due(delivery_worker)
    clock.now += 89 * SECOND
    assert run_due(delivery_worker) == 0
    clock.now += 2 * SECOND
    run_due(delivery_worker)
    state, attempts = delivery_log()
    assert (state, [attempt["verdict"] for attempt in attempts]) == (DeliveryState.DEAD, ["retry", "gone"])


def test_a_test_call_asks_as_well(runtime: Runtime, receiver: Receiver) -> None:
    body = {"callback_url": receiver.url, "format": "cloudevents"}
    api = ApiCaller(runtime)
    receiver.options = (200, {})
    answer = api.call("POST", "/v1/callbacks/test", json=body).json
    assert (answer["verdict"], receiver.callbacks) == ("refused", [])
    receiver.options = (200, ALLOWED)
    assert api.call("POST", "/v1/callbacks/test", json=body).json["verdict"] == "delivered"
    assert runtime.stores.redis.keys("cph:deliver:lane:*") + runtime.stores.redis.keys(keys.handshake("*", "*")) == []


def test_a_receiver_that_has_moved_is_named_where_to(make_attempt, receiver: Receiver) -> None:
    attempt = make_attempt({"Location": "https://new.example/in"}, 308)
    assert (attempt["verdict"], attempt["status_code"]) == ("refused", 308)
    assert attempt["error"].endswith("moved permanently (308) to https://new.example/in: register that URL")
    assert receiver.callbacks == []
