"""Destinations that fail for days: disabled and resumed, with events for the operator. The clock is manual."""

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
from tests.support.log_lines import event_names
from tests.support.receiver import Receiver

HOUR = timedelta(hours=1)


@pytest.fixture
def operator() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def settings(environment: dict[str, str], operator: Receiver, registration) -> Settings:
    operator_settings = {"BRIDGE_OPERATOR_URL": operator.url, "BRIDGE_OPERATOR_SECRET": registration().secret}
    return load(environment | operator_settings)


def until_disabled(delivery_worker: Any, run_due: Any, clock: Any, shown_destination: Any) -> timedelta:
    """Runs due deliveries until the destination is disabled. Returns how long that took."""
    began = clock.now
    while shown_destination().state is not DestinationState.DISABLED:
        clock.now += 2 * HOUR
        run_due(delivery_worker)
        assert clock.now < began + 2 * DISABLED_AFTER
    return clock.now - began


def test_days_of_nothing_but_failures_disable_it_and_the_operator_is_notified(
    delivery_worker,
    run_due,
    make_pending_deliveries,
    receiver: Receiver,
    operator: Receiver,
    clock,
    shown_destination,
    delivery_states,
    runtime: Runtime,
    caplog,
) -> None:
    make_pending_deliveries(300)
    receiver.fail()
    run_due(delivery_worker)
    since = clock.now
    assert until_disabled(delivery_worker, run_due, clock, shown_destination) == DISABLED_AFTER
    tries = len(receiver.callbacks)
    assert run_due(delivery_worker) == 1  # the operator's event
    (callback,) = operator.callbacks
    held = delivery_states().count(DeliveryState.HELD)
    assert callback.event["type"] == "destination.disabled"
    assert callback.event["data"] == {
        "tenant": "t",
        "destination": "here",
        "since": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "failures": tries,
        "held": held,
        "observed_at": clock.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    assert held > 250
    for _ in range(10):
        clock.now += 24 * HOUR
        assert run_due(delivery_worker) == 0
    assert delivery_states().count(DeliveryState.HELD) == held
    assert event_names(caplog, "destination.") == ["destination.fails", "destination.disabled"]


def test_one_that_was_disabled_sends_what_was_on_hold_when_it_is_resumed(
    delivery_worker,
    run_due,
    make_pending_deliveries,
    receiver: Receiver,
    operator: Receiver,
    clock,
    shown_destination,
    delivery_states,
    runtime: Runtime,
) -> None:
    make_pending_deliveries(100)
    receiver.fail()
    until_disabled(delivery_worker, run_due, clock, shown_destination)
    dead = delivery_states().count(DeliveryState.DEAD)
    assert run_due(delivery_worker) == 1  # the operator's event
    assert runtime.destinations.resume(shown_destination().lane, clock.now)
    receiver.heal()
    while DeliveryState.PENDING in delivery_states():
        clock.now += HOUR
        run_due(delivery_worker)
    assert delivery_states().count(DeliveryState.DELIVERED) == 100 - dead > 0
    assert [callback.event["type"] for callback in operator.callbacks] == [
        "destination.disabled",
        "destination.reopened",
    ]


@pytest.mark.slow
def test_one_that_was_resumed_and_still_fails_has_days_again(
    delivery_worker, run_due, make_pending_deliveries, receiver: Receiver, clock, shown_destination, runtime: Runtime
) -> None:
    make_pending_deliveries(300)
    receiver.fail()
    until_disabled(delivery_worker, run_due, clock, shown_destination)
    runtime.destinations.resume(shown_destination().lane, clock.now)
    assert run_due(delivery_worker) == 3  # one probe, and two events for the operator
    assert shown_destination().state is DestinationState.FAILING
    assert until_disabled(delivery_worker, run_due, clock, shown_destination) >= DISABLED_AFTER


def test_what_the_operator_is_sent_verifies(
    delivery_worker,
    run_due,
    make_pending_deliveries,
    receiver: Receiver,
    operator: Receiver,
    clock,
    shown_destination,
    stores: Stores,
    settings,
) -> None:
    clock.now = stores.clock() - DISABLED_AFTER  # the verifying package reads the real clock
    make_pending_deliveries(300)
    receiver.fail()
    run_due(delivery_worker)
    until_disabled(delivery_worker, run_due, clock, shown_destination)
    run_due(delivery_worker)
    assert operator.callbacks[0].verified_by(settings.operator_secret.get_secret_value())


@pytest.fixture
def pending_operator_event(
    delivery_worker,
    run_due,
    make_pending_deliveries,
    receiver: Receiver,
    operator: Receiver,
    clock,
    shown_destination,
    stores: Stores,
) -> None:
    """Disables a destination. The operator's receiver fails the first attempt, so the event is pending."""
    clock.now = stores.clock() - DISABLED_AFTER
    make_pending_deliveries(300)
    receiver.fail()
    operator.fail()
    run_due(delivery_worker)
    until_disabled(delivery_worker, run_due, clock, shown_destination)
    assert run_due(delivery_worker) == 1
    operator.heal()


@pytest.fixture
def run_until(delivery_worker, run_due, clock) -> Callable[[Callable[[], bool]], None]:
    """Runs due deliveries every five seconds until a condition holds."""

    def run(done: Callable[[], bool]) -> None:
        for _ in range(30):
            if done():
                return
            clock.now += timedelta(seconds=5)
            run_due(delivery_worker)
        raise AssertionError("not done")

    return run


def test_with_another_secret_for_the_operator_all_that_waits_is_signed_with_it(
    pending_operator_event, run_until, operator: Receiver, clock, shown_destination, settings
) -> None:
    old, new = settings.operator_secret.get_secret_value(), new_secret(b"n" * 24)
    restarted = Runtime(settings.model_copy(update={"operator_secret": SecretStr(new)}))
    restarted.destinations.resume(shown_destination().lane, clock.now)
    run_until(lambda: len(operator.callbacks) == 3)
    refused, *accepted = operator.callbacks
    assert refused.verified_by(old)
    assert {callback.event["type"] for callback in accepted} == {"destination.disabled", "destination.reopened"}
    assert all(callback.verified_by(new) for callback in accepted)
    restarted.stores.redis.close()


def test_with_another_url_for_the_operator_what_waits_still_goes_to_the_one_before(
    pending_operator_event, run_until, operator: Receiver, clock, shown_destination, settings
) -> None:
    with Receiver() as moved:
        restarted = Runtime(settings.model_copy(update={"operator_url": SecretStr(moved.url)}))
        restarted.destinations.resume(shown_destination().lane, clock.now)
        run_until(lambda: len(operator.callbacks) == 2 and len(moved.callbacks) == 1)
        assert {callback.event["type"] for callback in operator.callbacks} == {"destination.disabled"}
        assert moved.callbacks[0].event["type"] == "destination.reopened"
        restarted.stores.redis.close()


@pytest.mark.slow
def test_of_the_operators_own_destination_the_operator_is_not_notified(
    delivery_worker,
    run_due,
    make_pending_deliveries,
    receiver: Receiver,
    operator: Receiver,
    clock,
    shown_destination,
    runtime: Runtime,
) -> None:
    make_pending_deliveries(300)
    receiver.fail()
    operator.fail()
    until_disabled(delivery_worker, run_due, clock, shown_destination)
    (lane,) = [lane for lane in runtime.stores.redis.zrange(keys.lanes("deliver"), 0, -1) if ":operator" in lane]
    for _ in range(6):  # the tenant's destination is disabled again, so there are always new events for the operator
        clock.now += 24 * HOUR
        runtime.destinations.resume(shown_destination().lane, clock.now)
        runtime.stores.redis.hset(
            keys.lane("deliver", shown_destination().lane), mapping={"held": 1, "held_why": "disabled"}
        )
        runtime.stores.redis.hset(
            keys.lane("deliver", shown_destination().lane), mapping={"failing_since": 1, "failures": 9}
        )
        for _ in range(300):
            clock.now += timedelta(minutes=5)
            run_due(delivery_worker)
    assert runtime.stores.redis.hget(keys.lane("deliver", lane), "held_why") == "disabled"
    operator.heal()
    runtime.destinations.resume(lane, clock.now)
    for _ in range(30):
        run_due(delivery_worker)
    assert {callback.event["data"]["tenant"] for callback in operator.callbacks} == {"t"}
