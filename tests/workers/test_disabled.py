"""Destinations that have only failed for days: disabled, resumed, and the operator told. The test owns the time."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.domain.delivery import DeliveryState
from app.domain.destination import DISABLED_AFTER, DestinationState
from app.domain.signature import new_secret
from app.store.engine import keys
from tests.support.receiver import Receiver

HOUR = timedelta(hours=1)


@pytest.fixture
def operator() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def settings(environment: dict[str, str], operator: Receiver, registration) -> Settings:
    told = {"BRIDGE_OPERATOR_URL": operator.url, "BRIDGE_OPERATOR_SECRET": registration().secret}
    return load(environment | told)


def told(caplog) -> list[str]:
    return [record.message for record in caplog.records if record.message.startswith("destination.")]


def until_disabled(delivering: Any, turn: Any, time: Any, look: Any) -> timedelta:
    """How long that took."""
    began = time.now
    while look().state is not DestinationState.DISABLED:
        time.now += 2 * HOUR
        turn(delivering)
        assert time.now < began + 2 * DISABLED_AFTER
    return time.now - began


def test_days_of_nothing_but_failures_disable_it_and_the_operator_is_told(
    delivering, turn, owe, receiver: Receiver, operator: Receiver, time, look, states, runtime: Runtime, caplog
) -> None:
    owe(300)
    receiver.fail()
    turn(delivering)
    since = time.now
    assert until_disabled(delivering, turn, time, look) == DISABLED_AFTER
    tries = len(receiver.callbacks)
    assert turn(delivering) == 1  # the operator's
    (callback,) = operator.callbacks
    held = states().count(DeliveryState.HELD)
    assert callback.event["type"] == "destination.disabled"
    assert callback.event["data"] == {
        "tenant": "t",
        "destination": "here",
        "since": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "failures": tries,
        "held": held,
        "observed_at": time.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    assert held > 250
    for _ in range(10):
        time.now += 24 * HOUR
        assert turn(delivering) == 0
    assert states().count(DeliveryState.HELD) == held
    assert told(caplog) == ["destination.fails", "destination.disabled"]


def test_one_that_was_disabled_sends_what_it_held_when_it_is_resumed(
    delivering, turn, owe, receiver: Receiver, operator: Receiver, time, look, states, runtime: Runtime
) -> None:
    owe(100)
    receiver.fail()
    until_disabled(delivering, turn, time, look)
    dead = states().count(DeliveryState.DEAD)
    assert turn(delivering) == 1  # the operator's
    assert runtime.destinations.resume(look().lane, time.now)
    receiver.heal()
    while DeliveryState.PENDING in states():
        time.now += HOUR
        turn(delivering)
    assert states().count(DeliveryState.DELIVERED) == 100 - dead > 0
    assert [callback.event["type"] for callback in operator.callbacks] == [
        "destination.disabled",
        "destination.reopened",
    ]


@pytest.mark.slow
def test_one_that_was_resumed_and_still_fails_has_days_again(
    delivering, turn, owe, receiver: Receiver, time, look, runtime: Runtime
) -> None:
    owe(300)
    receiver.fail()
    until_disabled(delivering, turn, time, look)
    runtime.destinations.resume(look().lane, time.now)
    assert turn(delivering) == 3  # one probe, and what the operator is told
    assert look().state is DestinationState.FAILING
    assert until_disabled(delivering, turn, time, look) >= DISABLED_AFTER


def test_what_the_operator_is_told_verifies(
    delivering, turn, owe, receiver: Receiver, operator: Receiver, time, look, stores: Stores, settings
) -> None:
    time.now = stores.clock() - DISABLED_AFTER  # the package that verifies looks at the real clock
    owe(300)
    receiver.fail()
    turn(delivering)
    until_disabled(delivering, turn, time, look)
    turn(delivering)
    assert operator.callbacks[0].verified_by(settings.operator_secret.get_secret_value())


@pytest.fixture
def waits_for_the_operator(
    delivering, turn, owe, receiver: Receiver, operator: Receiver, time, look, stores: Stores
) -> None:
    """A destination was disabled, and the operator's receiver has refused to hear of it."""
    time.now = stores.clock() - DISABLED_AFTER
    owe(300)
    receiver.fail()
    operator.fail()
    turn(delivering)
    until_disabled(delivering, turn, time, look)
    assert turn(delivering) == 1
    operator.heal()


@pytest.fixture
def turns_until(delivering, turn, time) -> Callable[[Callable[[], bool]], None]:
    def work(done: Callable[[], bool]) -> None:
        for _ in range(30):
            if done():
                return
            time.now += timedelta(seconds=5)
            turn(delivering)
        raise AssertionError("not done")

    return work


def test_with_another_secret_for_the_operator_all_that_waits_is_signed_by_who_tells_next(
    waits_for_the_operator, turns_until, operator: Receiver, time, look, settings
) -> None:
    old, new = settings.operator_secret.get_secret_value(), new_secret(b"n" * 24)
    restarted = Runtime(settings.model_copy(update={"operator_secret": SecretStr(new)}))
    restarted.destinations.resume(look().lane, time.now)
    turns_until(lambda: len(operator.callbacks) == 3)
    refused, *taken = operator.callbacks
    assert refused.verified_by(old)
    assert {callback.event["type"] for callback in taken} == {"destination.disabled", "destination.reopened"}
    assert all(callback.verified_by(new) for callback in taken)
    restarted.stores.redis.close()


def test_with_another_url_for_the_operator_what_waits_still_goes_to_the_one_before(
    waits_for_the_operator, turns_until, operator: Receiver, time, look, settings
) -> None:
    with Receiver() as moved:
        restarted = Runtime(settings.model_copy(update={"operator_url": SecretStr(moved.url)}))
        restarted.destinations.resume(look().lane, time.now)
        turns_until(lambda: len(operator.callbacks) == 2 and len(moved.callbacks) == 1)
        assert {callback.event["type"] for callback in operator.callbacks} == {"destination.disabled"}
        assert moved.callbacks[0].event["type"] == "destination.reopened"
        restarted.stores.redis.close()


@pytest.mark.slow
def test_of_the_operators_own_destination_the_operator_is_not_told(
    delivering, turn, owe, receiver: Receiver, operator: Receiver, time, look, runtime: Runtime
) -> None:
    owe(300)
    receiver.fail()
    operator.fail()
    until_disabled(delivering, turn, time, look)
    (lane,) = [lane for lane in runtime.stores.redis.zrange(keys.lanes("deliver"), 0, -1) if ":operator" in lane]
    for _ in range(6):  # other tenants' trouble, so that there is always something to tell
        time.now += 24 * HOUR
        runtime.destinations.resume(look().lane, time.now)
        runtime.stores.redis.hset(keys.lane("deliver", look().lane), mapping={"held": 1, "held_why": "disabled"})
        runtime.stores.redis.hset(keys.lane("deliver", look().lane), mapping={"failing_since": 1, "failures": 9})
        for _ in range(300):
            time.now += timedelta(minutes=5)
            turn(delivering)
    assert runtime.stores.redis.hget(keys.lane("deliver", lane), "held_why") == "disabled"
    operator.heal()
    runtime.destinations.resume(lane, time.now)
    for _ in range(30):
        turn(delivering)
    assert {callback.event["data"]["tenant"] for callback in operator.callbacks} == {"t"}
