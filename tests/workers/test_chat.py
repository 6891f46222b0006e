"""Messages to chat bots: one lane and one rate for each bot, digests of several events, few tries."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.domain.delivery import Death, DeliveryState
from app.domain.destination import bot_at, lane_of
from app.domain.job import Job, JobState
from app.domain.registration import Registration
from tests.support.claims import claim_due
from tests.support.receiver import Receiver
from workers.delivery.deliver import DeliveryWorker

SECOND = timedelta(seconds=1)
BOT = bot_at("http://127.0.0.1:9", "slack", "/services/T/B/t0ken")


@pytest.fixture
def make_chat_deliveries(runtime: Runtime, registration, receiver: Receiver, clock) -> Callable[..., Registration]:
    """Registers so that `count` messages to one Slack bot are due."""
    receiver.answer_body = b"ok"
    made = []

    def make(count: int = 1, **fields: Any) -> Registration:
        jobs = tuple(Job(f"{len(made)}-{number:04d}", JobState.SUCCEEDED) for number in range(count))
        usual = {"callback_url": receiver.url, "destination": BOT, "secret": "", "format": "slack"}
        one = registration(at=clock.now, **usual | {"job_ids": (), "ended": jobs} | fields)
        runtime.stores.registrations.add(one, rate=runtime.config.format_catalog.rate("slack"))
        made.append(one)
        return one

    return make


@pytest.fixture
def attempts_by_delivery(stores: Stores, deliveries_of) -> Callable[[], list[list[dict[str, Any]]]]:
    """Reads the attempts of each delivery."""

    def read() -> list[list[dict[str, Any]]]:
        found = [stores.deliveries.get("t", delivery.id) for delivery in deliveries_of()]
        return [each[1] for each in found if each]

    return read


def test_a_chat_message_is_not_signed_and_its_log_tells_what_the_service_said(
    delivery_worker: DeliveryWorker, run_due, make_chat_deliveries, receiver: Receiver, delivery_log
) -> None:
    make_chat_deliveries()
    assert run_due(delivery_worker) == 1
    (message,) = receiver.callbacks
    assert "attachments" in message.event
    assert not [name for name in message.headers if name.startswith(("webhook-", "bridge-"))]
    state, (attempt,) = delivery_log()
    assert (state, attempt["verdict"], attempt["response_excerpt"]) == (DeliveryState.DELIVERED, "delivered", "ok")
    assert "digest" not in attempt


def test_a_200_that_says_no_is_no_success(
    delivery_worker: DeliveryWorker, run_due, make_chat_deliveries, receiver: Receiver, delivery_log
) -> None:
    make_chat_deliveries()
    receiver.answer_body = b"<html>log in</html>"
    run_due(delivery_worker)
    state, (attempt,) = delivery_log()
    assert (state, attempt["verdict"], attempt["status_code"]) == (DeliveryState.PENDING, "retry", 200)
    assert attempt["service_message"] == "Slack: 200 with an HTML page, probably from a proxy"


def test_what_is_due_together_goes_in_as_few_messages_as_the_format_allows(
    delivery_worker: DeliveryWorker,
    run_due,
    make_chat_deliveries,
    receiver: Receiver,
    clock,
    attempts_by_delivery,
    delivery_states,
) -> None:
    make_chat_deliveries(44)
    make_chat_deliveries(1)
    delivered_counts = []
    for _ in range(3):
        assert run_due(delivery_worker) == 1
        assert run_due(delivery_worker) == 0  # the rate allows one message a second
        delivered_counts.append(delivery_states().count(DeliveryState.DELIVERED))
        clock.now += 1.2 * SECOND
    assert delivered_counts == [20, 40, 45]
    assert len(receiver.callbacks) == 3
    attempts = [attempt for (attempt,) in attempts_by_delivery()]
    assert len({attempt["id"] for attempt in attempts}) == 3
    by_id = {attempt["id"]: attempt["digest"] for attempt in attempts}
    assert len({event for digest in by_id.values() for event in digest}) == 45
    assert all(job in str(receiver.callbacks[2].body) for job in ["1-0000"])


def test_each_delivery_of_a_digest_names_all_that_its_message_reported(
    delivery_worker: DeliveryWorker, run_due, make_chat_deliveries, stores: Stores, deliveries_of
) -> None:
    make_chat_deliveries(3)
    run_due(delivery_worker)
    events = {delivery.event_id for delivery in deliveries_of()}
    for delivery in deliveries_of():
        found = stores.deliveries.get("t", delivery.id)
        assert found is not None
        assert set(found[1][0]["digest"]) == events


def test_what_has_other_options_waits_for_a_message_of_its_own(
    delivery_worker: DeliveryWorker,
    run_due,
    make_chat_deliveries,
    receiver: Receiver,
    clock,
    delivery_log,
    attempts_by_delivery,
    delivery_states,
) -> None:
    make_chat_deliveries(2)
    make_chat_deliveries(2, language="zh-CN")
    make_chat_deliveries(2, link="https://console.example/{job_id}")
    for _ in range(3):
        run_due(delivery_worker)
        clock.now += 1.2 * SECOND
    assert delivery_states() == [DeliveryState.DELIVERED] * 6
    assert len(receiver.callbacks) == 3
    assert [attempt["number"] for (attempt,) in attempts_by_delivery()] == [
        1
    ] * 6  # a delivery that was put back has no attempt


def test_what_is_cancelled_is_left_out(
    delivery_worker: DeliveryWorker, run_due, make_chat_deliveries, receiver: Receiver, stores: Stores, delivery_states
) -> None:
    make_chat_deliveries(2)
    cancelled = make_chat_deliveries(2)
    stores.registrations.cancel("t", cancelled.id)
    run_due(delivery_worker)
    (message,) = receiver.callbacks
    assert b"0-0001" in message.body
    assert b"1-0000" not in message.body
    assert sorted(delivery_states()) == [DeliveryState.CANCELLED] * 2 + [DeliveryState.DELIVERED] * 2


def test_a_worker_that_ends_between_two_steps_loses_none_of_a_digest(
    delivery_worker: DeliveryWorker,
    run_due,
    make_chat_deliveries,
    receiver: Receiver,
    runtime: Runtime,
    clock,
    delivery_states,
) -> None:
    make_chat_deliveries(5)
    delivery_worker.prepare(claim_due(delivery_worker.agenda, clock(), 10))  # then the worker is killed
    clock.now += runtime.settings.lease + 2 * SECOND
    assert run_due(delivery_worker) == 1
    assert delivery_states() == [DeliveryState.DELIVERED] * 5
    assert len(receiver.callbacks) == 1


def test_a_digest_that_fails_leaves_each_to_its_own_schedule(
    delivery_worker: DeliveryWorker,
    run_due,
    make_chat_deliveries,
    receiver: Receiver,
    clock,
    attempts_by_delivery,
    delivery_states,
) -> None:
    make_chat_deliveries(1)
    receiver.fail()
    run_due(delivery_worker)
    clock.now += 33 * SECOND  # the first delivery is due again when the others are created
    make_chat_deliveries(2)
    run_due(delivery_worker)
    assert sorted(attempt["number"] for attempts in attempts_by_delivery() for attempt in attempts) == [1, 1, 1, 2]
    assert len({attempts[-1]["id"] for attempts in attempts_by_delivery()}) == 1
    late = max(attempts[-1]["next_at"] for attempts in attempts_by_delivery())
    soon = min(attempts[-1]["next_at"] for attempts in attempts_by_delivery())
    assert late - soon > 60_000
    receiver.heal()
    clock.now += 40 * SECOND
    run_due(delivery_worker)
    assert sorted(delivery_states()) == [DeliveryState.DELIVERED] * 2 + [DeliveryState.PENDING]


def test_people_are_asked_again_for_less_than_an_hour(
    delivery_worker: DeliveryWorker, run_due, make_chat_deliveries, receiver: Receiver, clock, deliveries_of
) -> None:
    make_chat_deliveries()
    receiver.fail()
    for _ in range(120):
        run_due(delivery_worker)
        clock.now += 60 * SECOND
    (delivery,) = deliveries_of()
    assert (delivery.state, delivery.death) == (DeliveryState.DEAD, Death.TRIES)
    assert len(receiver.callbacks) == 5


@pytest.mark.parametrize("deadline", [2 * SECOND])
def test_what_may_have_arrived_is_sent_once_more_and_no_more(
    delivery_worker: DeliveryWorker,
    run_due,
    make_chat_deliveries,
    receiver: Receiver,
    clock,
    deliveries_of,
    stores: Stores,
) -> None:
    make_chat_deliveries()
    receiver.gate.clear()  # the receiver reads the message, but does not answer
    for _ in range(3):
        run_due(delivery_worker)
        clock.now += 400 * SECOND
    receiver.gate.set()
    (delivery,) = deliveries_of()
    assert (delivery.state, delivery.death) == (DeliveryState.DEAD, Death.DOUBTFUL)
    assert len(receiver.callbacks) == 2
    found = stores.deliveries.get("t", delivery.id)
    assert found is not None
    assert [attempt["error"] for attempt in found[1]] == ["timed out after 2 s"] * 2


def test_who_was_not_reached_is_tried_as_often_as_the_schedule_says(
    delivery_worker: DeliveryWorker, run_due, make_chat_deliveries, clock, deliveries_of
) -> None:
    make_chat_deliveries(callback_url="http://127.0.0.1:9/services/T/B/X")
    for _ in range(60):
        run_due(delivery_worker)
        clock.now += 60 * SECOND
    (delivery,) = deliveries_of()
    assert (delivery.attempts, delivery.death) == (5, Death.TRIES)


def test_workers_that_end_before_they_know_are_followed_by_one_more_attempt(
    delivery_worker: DeliveryWorker,
    run_due,
    make_chat_deliveries,
    receiver: Receiver,
    runtime: Runtime,
    clock,
    deliveries_of,
) -> None:
    make_chat_deliveries()
    for _ in range(2):
        (begun,) = delivery_worker.prepare(claim_due(delivery_worker.agenda, clock(), 1))
        delivery_worker.do(begun)  # then the worker is killed, before it records the attempt
        clock.now += runtime.settings.lease + 2 * SECOND
    run_due(delivery_worker)
    (delivery,) = deliveries_of()
    assert (delivery.state, delivery.death) == (DeliveryState.DEAD, Death.DOUBTFUL)
    assert len(receiver.callbacks) == 2


@pytest.mark.parametrize("deadline", [2 * SECOND])
def test_a_message_that_is_sent_once_more_on_demand_has_all_its_tries_again(
    delivery_worker: DeliveryWorker,
    run_due,
    make_chat_deliveries,
    receiver: Receiver,
    stores: Stores,
    clock,
    deliveries_of,
) -> None:
    make_chat_deliveries()
    receiver.gate.clear()
    for _ in range(3):
        run_due(delivery_worker)
        clock.now += 400 * SECOND
    receiver.gate.set()
    (delivery,) = deliveries_of()
    stores.deliveries.redeliver("t", delivery.id, clock())
    clock.now += 400 * SECOND
    run_due(delivery_worker)
    assert deliveries_of()[0].state is DeliveryState.DELIVERED


def test_an_overloaded_bot_is_notified_more_slowly(
    delivery_worker: DeliveryWorker, run_due, make_chat_deliveries, receiver: Receiver, stores: Stores, clock
) -> None:
    lane = lane_of("t", BOT)
    make_chat_deliveries(1)
    (before,) = stores.deliveries_due.budgets([lane], clock())
    receiver.statuses = [(429, {"Retry-After": "30"})]
    run_due(delivery_worker)
    (after,) = stores.deliveries_due.budgets([lane], clock())
    assert after.rate == pytest.approx(before.rate / 2)
    assert after.paused_until == clock() + 30 * SECOND


def test_a_bot_takes_one_message_at_a_time(delivery_worker: DeliveryWorker, make_chat_deliveries, clock) -> None:
    make_chat_deliveries(25)
    assert len(delivery_worker.prepare(claim_due(delivery_worker.agenda, clock(), 10))) == 1
    clock.now += 5 * SECOND
    assert claim_due(delivery_worker.agenda, clock(), 10) == ()
