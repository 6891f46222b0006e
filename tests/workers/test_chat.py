"""Messages to chat bots: one lane, one pace, several events in one message, and few tries."""

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
def owe_chat(runtime: Runtime, registration, receiver: Receiver, time) -> Callable[..., Registration]:
    """So many messages to one Slack bot are due."""
    receiver.said = b"ok"
    made = []

    def make(count: int = 1, **fields: Any) -> Registration:
        jobs = tuple(Job(f"{len(made)}-{number:04d}", JobState.SUCCEEDED) for number in range(count))
        usual = {"callback_url": receiver.url, "destination": BOT, "secret": "", "format": "slack"}
        one = registration(at=time.now, **usual | {"job_ids": (), "ended": jobs} | fields)
        runtime.stores.registrations.add(one, rate=runtime.config.format_catalog.rate("slack"))
        made.append(one)
        return one

    return make


@pytest.fixture
def logs_of(stores: Stores, deliveries_of) -> Callable[[], list[list[dict[str, Any]]]]:
    """The attempts of each delivery."""

    def read() -> list[list[dict[str, Any]]]:
        found = [stores.deliveries.get("t", delivery.id) for delivery in deliveries_of()]
        return [each[1] for each in found if each]

    return read


def test_a_chat_message_is_not_signed_and_its_log_tells_what_the_service_said(
    delivering: DeliveryWorker, turn, owe_chat, receiver: Receiver, log_of
) -> None:
    owe_chat()
    assert turn(delivering) == 1
    (message,) = receiver.callbacks
    assert "attachments" in message.event
    assert not [name for name in message.headers if name.startswith(("webhook-", "bridge-"))]
    state, (attempt,) = log_of()
    assert (state, attempt["verdict"], attempt["response_excerpt"]) == (DeliveryState.DELIVERED, "delivered", "ok")
    assert "digest" not in attempt


def test_a_200_that_says_no_is_no_success(
    delivering: DeliveryWorker, turn, owe_chat, receiver: Receiver, log_of
) -> None:
    owe_chat()
    receiver.said = b"<html>log in</html>"
    turn(delivering)
    state, (attempt,) = log_of()
    assert (state, attempt["verdict"], attempt["status_code"]) == (DeliveryState.PENDING, "retry", 200)
    assert attempt["said"] == "Slack: 200 with an HTML page, as proxies show"


def test_what_is_due_together_goes_in_as_few_messages_as_the_format_allows(
    delivering: DeliveryWorker, turn, owe_chat, receiver: Receiver, time, logs_of, states
) -> None:
    owe_chat(44)
    owe_chat(1)
    told = []
    for _ in range(3):
        assert turn(delivering) == 1
        assert turn(delivering) == 0  # the pace: no other for a second
        told.append(states().count(DeliveryState.DELIVERED))
        time.now += 1.2 * SECOND
    assert told == [20, 40, 45]
    assert len(receiver.callbacks) == 3
    attempts = [attempt for (attempt,) in logs_of()]
    assert len({attempt["id"] for attempt in attempts}) == 3
    by_id = {attempt["id"]: attempt["digest"] for attempt in attempts}
    assert len({event for digest in by_id.values() for event in digest}) == 45
    assert all(job in str(receiver.callbacks[2].body) for job in ["1-0000"])


def test_each_delivery_of_a_digest_names_all_that_its_message_told_of(
    delivering: DeliveryWorker, turn, owe_chat, stores: Stores, deliveries_of
) -> None:
    owe_chat(3)
    turn(delivering)
    events = {delivery.event_id for delivery in deliveries_of()}
    for delivery in deliveries_of():
        found = stores.deliveries.get("t", delivery.id)
        assert found is not None
        assert set(found[1][0]["digest"]) == events


def test_what_looks_otherwise_waits_for_a_message_of_its_own(
    delivering: DeliveryWorker, turn, owe_chat, receiver: Receiver, time, log_of, logs_of, states
) -> None:
    owe_chat(2)
    owe_chat(2, language="zh-CN")
    owe_chat(2, link="https://console.example/{job_id}")
    for _ in range(3):
        turn(delivering)
        time.now += 1.2 * SECOND
    assert states() == [DeliveryState.DELIVERED] * 6
    assert len(receiver.callbacks) == 3
    assert [attempt["number"] for (attempt,) in logs_of()] == [1] * 6  # what was put back counts nothing


def test_what_is_cancelled_is_left_out(
    delivering: DeliveryWorker, turn, owe_chat, receiver: Receiver, stores: Stores, states
) -> None:
    owe_chat(2)
    cancelled = owe_chat(2)
    stores.registrations.cancel("t", cancelled.id)
    turn(delivering)
    (message,) = receiver.callbacks
    assert b"0-0001" in message.body
    assert b"1-0000" not in message.body
    assert sorted(states()) == [DeliveryState.CANCELLED] * 2 + [DeliveryState.DELIVERED] * 2


def test_a_worker_that_ends_between_two_steps_loses_none_of_a_digest(
    delivering: DeliveryWorker, turn, owe_chat, receiver: Receiver, runtime: Runtime, time, states
) -> None:
    owe_chat(5)
    delivering.prepare(claim_due(delivering.agenda, time(), 10))  # and then it is killed
    time.now += runtime.settings.lease + 2 * SECOND
    assert turn(delivering) == 1
    assert states() == [DeliveryState.DELIVERED] * 5
    assert len(receiver.callbacks) == 1


def test_a_digest_that_fails_leaves_each_to_its_own_schedule(
    delivering: DeliveryWorker, turn, owe_chat, receiver: Receiver, time, logs_of, states
) -> None:
    owe_chat(1)
    receiver.fail()
    turn(delivering)
    time.now += 33 * SECOND  # the first is due once more when the others come
    owe_chat(2)
    turn(delivering)
    assert sorted(attempt["number"] for attempts in logs_of() for attempt in attempts) == [1, 1, 1, 2]
    assert len({attempts[-1]["id"] for attempts in logs_of()}) == 1
    late = max(attempts[-1]["next_at"] for attempts in logs_of())
    soon = min(attempts[-1]["next_at"] for attempts in logs_of())
    assert late - soon > 60_000
    receiver.heal()
    time.now += 40 * SECOND
    turn(delivering)
    assert sorted(states()) == [DeliveryState.DELIVERED] * 2 + [DeliveryState.PENDING]


def test_people_are_asked_again_for_less_than_an_hour(
    delivering: DeliveryWorker, turn, owe_chat, receiver: Receiver, time, deliveries_of
) -> None:
    owe_chat()
    receiver.fail()
    for _ in range(120):
        turn(delivering)
        time.now += 60 * SECOND
    (delivery,) = deliveries_of()
    assert (delivery.state, delivery.death) == (DeliveryState.DEAD, Death.TRIES)
    assert len(receiver.callbacks) == 5


@pytest.mark.parametrize("deadline", [2 * SECOND])
def test_what_may_have_arrived_is_sent_once_more_and_no_more(
    delivering: DeliveryWorker, turn, owe_chat, receiver: Receiver, time, deliveries_of, stores: Stores
) -> None:
    owe_chat()
    receiver.gate.clear()  # it takes the message, and says nothing
    for _ in range(3):
        turn(delivering)
        time.now += 400 * SECOND
    receiver.gate.set()
    (delivery,) = deliveries_of()
    assert (delivery.state, delivery.death) == (DeliveryState.DEAD, Death.DOUBTFUL)
    assert len(receiver.callbacks) == 2
    found = stores.deliveries.get("t", delivery.id)
    assert found is not None
    assert [attempt["error"] for attempt in found[1]] == ["timed out after 2 s"] * 2


def test_who_was_not_reached_is_tried_as_often_as_the_schedule_says(
    delivering: DeliveryWorker, turn, owe_chat, time, deliveries_of
) -> None:
    owe_chat(callback_url="http://127.0.0.1:9/services/T/B/X")
    for _ in range(60):
        turn(delivering)
        time.now += 60 * SECOND
    (delivery,) = deliveries_of()
    assert (delivery.attempts, delivery.death) == (5, Death.TRIES)


def test_workers_that_end_before_they_know_are_followed_by_one_more_attempt(
    delivering: DeliveryWorker, turn, owe_chat, receiver: Receiver, runtime: Runtime, time, deliveries_of
) -> None:
    owe_chat()
    for _ in range(2):
        (begun,) = delivering.prepare(claim_due(delivering.agenda, time(), 1))
        delivering.do(begun)  # and then it is killed, before it has recorded that
        time.now += runtime.settings.lease + 2 * SECOND
    turn(delivering)
    (delivery,) = deliveries_of()
    assert (delivery.state, delivery.death) == (DeliveryState.DEAD, Death.DOUBTFUL)
    assert len(receiver.callbacks) == 2


@pytest.mark.parametrize("deadline", [2 * SECOND])
def test_a_message_that_is_sent_once_more_on_demand_has_all_its_tries_again(
    delivering: DeliveryWorker, turn, owe_chat, receiver: Receiver, stores: Stores, time, deliveries_of
) -> None:
    owe_chat()
    receiver.gate.clear()
    for _ in range(3):
        turn(delivering)
        time.now += 400 * SECOND
    receiver.gate.set()
    (delivery,) = deliveries_of()
    stores.deliveries.redeliver("t", delivery.id, time())
    time.now += 400 * SECOND
    turn(delivering)
    assert deliveries_of()[0].state is DeliveryState.DELIVERED


def test_a_crowded_bot_is_told_more_slowly(
    delivering: DeliveryWorker, turn, owe_chat, receiver: Receiver, stores: Stores, time
) -> None:
    lane = lane_of("t", BOT)
    owe_chat(1)
    (before,) = stores.deliveries_due.budgets([lane], time())
    receiver.statuses = [(429, {"Retry-After": "30"})]
    turn(delivering)
    (after,) = stores.deliveries_due.budgets([lane], time())
    assert after.rate == pytest.approx(before.rate / 2)
    assert after.paused_until == time() + 30 * SECOND


def test_a_bot_takes_one_message_at_a_time(delivering: DeliveryWorker, owe_chat, time) -> None:
    owe_chat(25)
    assert len(delivering.prepare(claim_due(delivering.agenda, time(), 10))) == 1
    time.now += 5 * SECOND
    assert claim_due(delivering.agenda, time(), 10) == ()
