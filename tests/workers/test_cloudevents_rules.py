"""CloudEvents' rules for web hooks: receivers are asked first, and told no faster than they allow."""

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
def told(
    delivering: DeliveryWorker, turn, ended, receiver: Receiver, log_of
) -> Callable[[dict[str, str]], dict[str, Any]]:
    """The attempt, where OPTIONS is answered so."""

    def tell(answer: dict[str, str], status: int = 200) -> dict[str, Any]:
        receiver.options = (status, answer)
        ended(format="cloudevents", headers={"Authorization": "Bearer t"})
        turn(delivering)
        return log_of()[1][-1]

    return tell


def test_a_receiver_is_asked_before_the_first_callback(told, receiver: Receiver) -> None:
    assert told(ALLOWED)["verdict"] == "delivered"
    asked, (callback,) = receiver.asked[0], receiver.callbacks
    assert asked["webhook-request-origin"] == ORIGIN
    assert int(asked["webhook-request-rate"]) > 0
    assert asked["authorization"] == "Bearer t"
    assert callback.headers["content-type"] == "application/cloudevents+json"
    assert callback.event["specversion"] == "1.0"


@pytest.mark.parametrize("origin", ["*", ORIGIN, ORIGIN.upper()])
def test_it_may_allow_everybody_or_us(told, origin: str) -> None:
    assert told({"WebHook-Allowed-Origin": origin})["verdict"] == "delivered"


@pytest.mark.parametrize(
    ("status", "answer", "verdict", "words"),
    [
        (200, {}, "refused", "lacks WebHook-Allowed-Origin"),
        (200, {"WebHook-Allowed-Origin": "other.example"}, "refused", "but from others"),
        (405, ALLOWED, "refused", "405"),
        (302, ALLOWED, "refused", "302"),
        (503, ALLOWED, "retry", "503"),
    ],
)
def test_without_leave_nothing_is_sent_and_the_log_says_why(
    told, receiver: Receiver, status: int, answer: dict[str, str], verdict: str, words: str
) -> None:
    attempt = told(answer, status)
    assert (attempt["verdict"], attempt["status_code"]) == (verdict, status)
    assert words in attempt["error"]
    assert receiver.callbacks == []


def test_leave_is_remembered_for_a_while(
    told, delivering: DeliveryWorker, turn, ended, receiver: Receiver, stores: Stores, time
) -> None:
    told(ALLOWED)
    time.now += 2 * SECOND
    ended("job-2", format="cloudevents")
    turn(delivering)
    assert (len(receiver.asked), len(receiver.callbacks)) == (1, 2)
    [name] = stores.redis.keys(keys.handshake("t", "*"))
    assert 0 < stores.redis.ttl(name) <= 86_400
    assert "s3cret" not in name
    stores.redis.delete(name)
    time.now += 2 * SECOND
    ended("job-3", format="cloudevents")
    turn(delivering)
    assert (len(receiver.asked), len(receiver.callbacks)) == (2, 3)


def test_what_it_allows_a_minute_is_the_pace_of_its_lane(told, stores: Stores, time) -> None:
    told(ALLOWED)
    (budget,) = stores.deliveries_due.budgets([lane_of("t", "here")], time())
    assert budget.rate == 2.0


@pytest.mark.parametrize("rate", ["*", "many", "0", "", "9" * 400, "9" * 5_000])
def test_no_limit_is_none(told, runtime: Runtime, time, rate: str) -> None:
    assert told(ALLOWED | {"WebHook-Allowed-Rate": rate})["verdict"] == "delivered"
    (budget,) = runtime.stores.deliveries_due.budgets([lane_of("t", "here")], time())
    assert budget.rate == runtime.settings.destination_rate


def test_other_formats_and_deployments_do_not_ask(delivering: DeliveryWorker, turn, ended, receiver: Receiver) -> None:
    ended(format="standard")
    turn(delivering)
    assert (len(receiver.asked), len(receiver.callbacks)) == (0, 1)


def test_who_asks_for_patience_or_is_gone_is_heard(
    delivering: DeliveryWorker, turn, ended, receiver: Receiver, time, log_of
) -> None:
    receiver.options = (200, ALLOWED)
    ended(format="cloudevents")
    receiver.statuses = [(429, {"Retry-After": "90"}), (410, {})]
    turn(delivering)
    time.now += 89 * SECOND
    assert turn(delivering) == 0
    time.now += 2 * SECOND
    turn(delivering)
    state, attempts = log_of()
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
