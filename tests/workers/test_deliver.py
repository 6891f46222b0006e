"""What a deliver worker does, against a receiver of the test's own."""

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


def test_a_callback_is_what_the_contract_says(delivering, turn, ended, receiver: Receiver, log_of) -> None:
    made = ended(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert turn(delivering) == 1
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
    state, (attempt,) = log_of()
    assert state is DeliveryState.DELIVERED
    assert (attempt["number"], attempt["verdict"], attempt["status_code"]) == (1, "delivered", 200)
    assert attempt["next_at"] is None
    assert set(attempt["timings"]) == {"total_ms", "lookup_ms", "connect_ms", "first_byte_ms"}


def test_a_callback_verifies(delivering, turn, ended, receiver: Receiver, stores: Stores, time) -> None:
    made = ended()
    time.now = stores.clock()  # the package that verifies looks at the real clock
    assert turn(delivering) == 1
    assert receiver.callbacks[0].verified_by(made.secret)


def test_every_attempt_has_the_same_id_and_bytes_and_is_in_the_log(
    delivering, turn, ended, receiver: Receiver, time, log_of
) -> None:
    ended()
    receiver.statuses = [(500, {}), (429, {"Retry-After": "90"})]
    turn(delivering)
    time.now += 5.5 * SECOND
    turn(delivering)
    time.now += 89 * SECOND
    assert turn(delivering) == 0  # Retry-After is a floor
    time.now += SECOND
    turn(delivering)
    assert len({(callback.id, callback.body) for callback in receiver.callbacks}) == 1
    assert [callback.headers["bridge-attempt"] for callback in receiver.callbacks] == ["1", "2", "3"]
    assert len({callback.headers["webhook-timestamp"] for callback in receiver.callbacks}) == 3
    state, attempts = log_of()
    assert state is DeliveryState.DELIVERED
    assert [(attempt["status_code"], attempt["verdict"]) for attempt in attempts] == [
        (500, "retry"),
        (429, "retry"),
        (200, "delivered"),
    ]


def test_after_the_last_try_a_delivery_is_dead(delivering, turn, ended, receiver: Receiver, time, log_of) -> None:
    ended()
    receiver.statuses = [(500, {})] * 4
    for _ in range(6):
        turn(delivering)
        time.now += 140 * SECOND
    state, attempts = log_of()
    assert (state, len(attempts), len(receiver.callbacks)) == (DeliveryState.DEAD, 4, 4)


@pytest.mark.parametrize(("status", "tries"), [(410, 1), (404, 3), (302, 3)])
def test_what_the_receiver_refuses_ends_soon(
    delivering, turn, ended, receiver: Receiver, time, log_of, status: int, tries: int
) -> None:
    ended()
    receiver.statuses = [(status, {"Location": receiver.url})] * 4
    for _ in range(6):
        turn(delivering)
        time.now += 140 * SECOND
    state, attempts = log_of()
    assert (state, len(attempts), len(receiver.callbacks)) == (DeliveryState.DEAD, tries, tries)


def test_an_address_that_is_not_allowed_is_not_called(delivering, turn, ended, receiver: Receiver, log_of) -> None:
    ended(callback_url="http://169.254.169.254/latest/meta-data")
    turn(delivering)
    state, (attempt,) = log_of()
    assert state is DeliveryState.PENDING
    assert attempt["verdict"] == "refused"
    assert "address_metadata" in attempt["error"]


def test_an_attempt_whose_permit_has_run_out_does_not_start(
    delivering, runtime: Runtime, ended, receiver: Receiver, time
) -> None:
    ended()
    (begun,) = delivering.prepare(claim_due(delivering.agenda, time(), 1))
    time.now = begun.permit_until
    assert not delivering.do(begun)
    assert receiver.callbacks == []


def test_a_worker_that_stands_still_after_its_last_look_at_the_permit_sends_nothing(
    delivering, turn, runtime: Runtime, ended, receiver: Receiver
) -> None:
    """A cancel is answered when the permit has run out: nothing leaves after that, even on a kept connection."""
    deadline = 0.5
    ended("job-1")
    turn(delivering)
    ended("job-2")
    delivering._deadline = timedelta(seconds=deadline)
    delivering._crash_point = lambda point: sleep(deadline) if point == "deliver.before_post" else None
    (begun,) = delivering.prepare(claim_due(delivering.agenda, delivering._clock(), 1))
    (recorded,) = delivering.do(begun)
    assert "timed out" in str(recorded.args)
    assert len(receiver.callbacks) == 1


def test_a_cancelled_delivery_is_not_begun(delivering, turn, runtime: Runtime, ended, receiver: Receiver, time) -> None:
    made = ended()
    claimed = claim_due(delivering.agenda, time(), 1)
    runtime.stores.registrations.cancel("t", made.id)
    assert delivering.prepare(claimed) == []
    time.now += runtime.settings.lease
    assert turn(delivering) == 0


def test_an_attempt_that_ends_after_the_cancel_is_forgotten_with_the_rest(
    delivering, stores: Stores, ended, receiver: Receiver, time, log_of
) -> None:
    made = ended()
    (begun,) = delivering.prepare(claim_due(delivering.agenda, time(), 1))
    stores.registrations.cancel("t", made.id)
    receiver.statuses = [(500, {})]
    stores.scripts.run_all(delivering.do(begun))
    assert stores.redis.llen(keys.attempts(begun.claimed.id)) == 1
    kept = stores.redis.keys(f"cph:{made.id}*") + stores.redis.keys("cph:dlv:*")
    assert [name for name in kept if stores.redis.ttl(name) < 0] == []


def test_a_delivery_that_ends_every_worker_is_given_up(
    delivering, turn, runtime: Runtime, ended, receiver: Receiver, time, log_of
) -> None:
    ended()
    for _ in range(4):
        delivering.prepare(claim_due(delivering.agenda, time(), 1))  # and then the worker is killed
        time.now += runtime.settings.lease
    turn(delivering)
    state, (attempt,) = log_of()
    assert state is DeliveryState.DEAD
    assert "given up" in attempt["error"]
    assert receiver.callbacks == []


def test_a_success_counts_whoever_reports_it(
    delivering, runtime: Runtime, ended, receiver: Receiver, time, log_of
) -> None:
    ended()
    (stalled,) = delivering.prepare(claim_due(delivering.agenda, time(), 1))
    report = delivering.do(stalled)
    time.now += runtime.settings.lease
    (current,) = delivering.prepare(claim_due(delivering.agenda, time(), 1))
    runtime.stores.scripts.run_all(report)
    assert log_of()[0] is DeliveryState.DELIVERED
    receiver.statuses = [(500, {})]
    runtime.stores.scripts.run_all(delivering.do(current))
    state, attempts = log_of()
    assert (state, len(attempts)) == (DeliveryState.DELIVERED, 2)


def test_a_failure_counts_only_under_the_lease_in_force(
    delivering, runtime: Runtime, ended, receiver: Receiver, time, log_of
) -> None:
    ended()
    receiver.statuses = [(404, {})]
    (stalled,) = delivering.prepare(claim_due(delivering.agenda, time(), 1))
    report = delivering.do(stalled)
    time.now += runtime.settings.lease
    (current,) = delivering.prepare(claim_due(delivering.agenda, time(), 1))
    runtime.stores.scripts.run_all(report)
    runtime.stores.scripts.run_all(delivering.do(current))
    state, attempts = log_of()
    assert (state, [attempt["verdict"] for attempt in attempts]) == (DeliveryState.DELIVERED, ["refused", "delivered"])


def test_a_report_that_is_sent_twice_counts_once(
    delivering, stores: Stores, ended, receiver: Receiver, time, log_of
) -> None:
    ended()
    (begun,) = delivering.prepare(claim_due(delivering.agenda, time(), 1))
    report = delivering.do(begun)
    stores.scripts.run_all([*report, *report])
    state, attempts = log_of()
    assert (state, len(attempts)) == (DeliveryState.DELIVERED, 1)
    found = stores.registrations.get("t", begun.facts[0])
    assert found is not None
    assert (found[1].pending, found[1].delivered) == (0, 1)
