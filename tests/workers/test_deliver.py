"""The delivery worker, with a local receiver."""

import json
from datetime import timedelta
from time import sleep

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.domain.delivery import DeliveryState
from app.store.engine import keys
from tests.support.claims import claim_due
from tests.support.receiver import Receiver

SECOND = timedelta(seconds=1)


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load(environment | {"BRIDGE_RETRY_SCHEDULE": "5,30,120"})


def test_a_callback_is_what_the_contract_says(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, delivery_log
) -> None:
    made = make_ended_registration(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert run_due(delivery_worker) == 1
    (callback,) = receiver.callbacks
    body = json.loads(callback.body)
    assert body["id"] == callback.id
    assert body["type"] == "job.succeeded"
    assert body["data"]["registration_id"] == made.id
    assert body["data"]["job"]["phone_id"] == "手机"
    assert body["data"]["metadata"] == {"room": "ops"}
    assert callback.headers["content-type"] == "application/json"
    assert callback.headers["user-agent"].startswith("cph-webhook-bridge/")
    assert callback.headers["bridge-attempt"] == "1"
    assert callback.headers["traceparent"] == made.traceparent
    state, (attempt,) = delivery_log()
    assert state is DeliveryState.DELIVERED
    assert (attempt["number"], attempt["verdict"], attempt["status_code"]) == (1, "delivered", 200)
    assert attempt["next_at"] is None
    assert set(attempt["timings"]) == {"total_ms", "lookup_ms", "connect_ms", "first_byte_ms"}


def test_a_callback_verifies(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, stores: Stores, clock
) -> None:
    made = make_ended_registration()
    clock.now = stores.clock()  # the verifying package reads the real clock
    assert run_due(delivery_worker) == 1
    assert receiver.callbacks[0].verified_by(made.secret)


def test_every_attempt_has_the_same_id_and_bytes_and_is_in_the_log(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, clock, delivery_log
) -> None:
    make_ended_registration()
    receiver.statuses = [(500, {}), (429, {"Retry-After": "90"})]
    run_due(delivery_worker)
    clock.now += 5.5 * SECOND
    run_due(delivery_worker)
    clock.now += 89 * SECOND
    assert run_due(delivery_worker) == 0  # Retry-After is a lower bound
    clock.now += SECOND
    run_due(delivery_worker)
    assert len({(callback.id, callback.body) for callback in receiver.callbacks}) == 1
    assert [callback.headers["bridge-attempt"] for callback in receiver.callbacks] == ["1", "2", "3"]
    assert len({callback.headers["webhook-timestamp"] for callback in receiver.callbacks}) == 3
    state, attempts = delivery_log()
    assert state is DeliveryState.DELIVERED
    assert [(attempt["status_code"], attempt["verdict"]) for attempt in attempts] == [
        (500, "retry"),
        (429, "retry"),
        (200, "delivered"),
    ]


def test_after_the_last_try_a_delivery_is_dead(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, clock, delivery_log
) -> None:
    make_ended_registration()
    receiver.statuses = [(500, {})] * 4
    for _ in range(6):
        run_due(delivery_worker)
        clock.now += 140 * SECOND
    state, attempts = delivery_log()
    assert (state, len(attempts), len(receiver.callbacks)) == (DeliveryState.DEAD, 4, 4)


@pytest.mark.parametrize(("status", "tries"), [(410, 1), (404, 3), (302, 3)])
def test_what_the_receiver_refuses_ends_soon(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, clock, delivery_log, status: int, tries: int
) -> None:
    make_ended_registration()
    receiver.statuses = [(status, {"Location": receiver.url})] * 4
    for _ in range(6):
        run_due(delivery_worker)
        clock.now += 140 * SECOND
    state, attempts = delivery_log()
    assert (state, len(attempts), len(receiver.callbacks)) == (DeliveryState.DEAD, tries, tries)


def test_an_address_that_is_not_allowed_is_not_called(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, delivery_log
) -> None:
    make_ended_registration(callback_url="http://169.254.169.254/latest/meta-data")
    run_due(delivery_worker)
    state, (attempt,) = delivery_log()
    assert state is DeliveryState.PENDING
    assert attempt["verdict"] == "refused"
    assert "address_metadata" in attempt["error"]


def test_an_attempt_whose_permit_has_run_out_does_not_start(
    delivery_worker, runtime: Runtime, make_ended_registration, receiver: Receiver, clock
) -> None:
    make_ended_registration()
    (begun,) = delivery_worker.prepare(claim_due(delivery_worker.agenda, clock(), 1))
    clock.now = begun.permit_until
    assert not delivery_worker.do(begun)
    assert receiver.callbacks == []


def test_a_worker_that_stands_still_after_its_last_check_of_the_permit_sends_nothing(
    delivery_worker, run_due, runtime: Runtime, make_ended_registration, receiver: Receiver
) -> None:
    """The API answers a cancellation once the permit has expired. Nothing may be sent after that."""
    deadline = 0.5
    make_ended_registration("job-1")
    run_due(delivery_worker)
    make_ended_registration("job-2")
    delivery_worker._deadline = timedelta(seconds=deadline)
    delivery_worker._crash_point = lambda point: sleep(deadline) if point == "deliver.before_post" else None
    (begun,) = delivery_worker.prepare(claim_due(delivery_worker.agenda, delivery_worker._clock(), 1))
    (recorded,) = delivery_worker.do(begun)
    assert "timed out" in str(recorded.arguments)
    assert len(receiver.callbacks) == 1


def test_a_cancelled_delivery_is_not_begun(
    delivery_worker, run_due, runtime: Runtime, make_ended_registration, receiver: Receiver, clock
) -> None:
    made = make_ended_registration()
    claimed = claim_due(delivery_worker.agenda, clock(), 1)
    runtime.stores.registrations.cancel("t", made.id)
    assert delivery_worker.prepare(claimed) == []
    clock.now += runtime.settings.lease
    assert run_due(delivery_worker) == 0


def test_an_attempt_that_ends_after_the_cancel_is_forgotten_with_the_rest(
    delivery_worker, stores: Stores, make_ended_registration, receiver: Receiver, clock, delivery_log
) -> None:
    made = make_ended_registration()
    (begun,) = delivery_worker.prepare(claim_due(delivery_worker.agenda, clock(), 1))
    stores.registrations.cancel("t", made.id)
    receiver.statuses = [(500, {})]
    stores.scripts.run_all(delivery_worker.do(begun))
    assert stores.redis.llen(keys.attempts(begun.claimed.id)) == 1
    stored_keys = stores.redis.keys(f"cph:{made.id}*") + stores.redis.keys("cph:dlv:*")
    assert [name for name in stored_keys if stores.redis.ttl(name) < 0] == []


def test_a_delivery_that_ends_every_worker_is_given_up(
    delivery_worker, run_due, runtime: Runtime, make_ended_registration, receiver: Receiver, clock, delivery_log
) -> None:
    make_ended_registration()
    for _ in range(4):
        delivery_worker.prepare(claim_due(delivery_worker.agenda, clock(), 1))  # then the worker is killed
        clock.now += runtime.settings.lease
    run_due(delivery_worker)
    state, (attempt,) = delivery_log()
    assert state is DeliveryState.DEAD
    assert "given up" in attempt["error"]
    assert receiver.callbacks == []


def test_a_success_counts_whoever_reports_it(
    delivery_worker, runtime: Runtime, make_ended_registration, receiver: Receiver, clock, delivery_log
) -> None:
    make_ended_registration()
    (stalled,) = delivery_worker.prepare(claim_due(delivery_worker.agenda, clock(), 1))
    report = delivery_worker.do(stalled)
    clock.now += runtime.settings.lease
    (current,) = delivery_worker.prepare(claim_due(delivery_worker.agenda, clock(), 1))
    runtime.stores.scripts.run_all(report)
    assert delivery_log()[0] is DeliveryState.DELIVERED
    receiver.statuses = [(500, {})]
    runtime.stores.scripts.run_all(delivery_worker.do(current))
    state, attempts = delivery_log()
    assert (state, len(attempts)) == (DeliveryState.DELIVERED, 2)


def test_a_failure_counts_only_under_the_lease_in_force(
    delivery_worker, runtime: Runtime, make_ended_registration, receiver: Receiver, clock, delivery_log
) -> None:
    make_ended_registration()
    receiver.statuses = [(404, {})]
    (stalled,) = delivery_worker.prepare(claim_due(delivery_worker.agenda, clock(), 1))
    report = delivery_worker.do(stalled)
    clock.now += runtime.settings.lease
    (current,) = delivery_worker.prepare(claim_due(delivery_worker.agenda, clock(), 1))
    runtime.stores.scripts.run_all(report)
    runtime.stores.scripts.run_all(delivery_worker.do(current))
    state, attempts = delivery_log()
    assert (state, [attempt["verdict"] for attempt in attempts]) == (DeliveryState.DELIVERED, ["refused", "delivered"])


def test_a_report_that_is_sent_twice_counts_once(
    delivery_worker, stores: Stores, make_ended_registration, receiver: Receiver, clock, delivery_log
) -> None:
    make_ended_registration()
    (begun,) = delivery_worker.prepare(claim_due(delivery_worker.agenda, clock(), 1))
    report = delivery_worker.do(begun)
    stores.scripts.run_all([*report, *report])
    state, attempts = delivery_log()
    assert (state, len(attempts)) == (DeliveryState.DELIVERED, 1)
    found = stores.registrations.get("t", begun.facts[0])
    assert found is not None
    assert (found[1].pending, found[1].delivered) == (0, 1)
