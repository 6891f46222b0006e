"""Redelivery, and URLs that have answered 410 Gone."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.domain.delivery import Death, DeliveryState
from app.domain.destination import lane_of
from app.domain.times import from_ms
from app.store.deliveries import DeadDeliveryFilter
from tests.support.claims import claim_due
from tests.support.receiver import Receiver

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
ALL = DeadDeliveryFilter(registration_id=None, destination=None, since=None, until=None)


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load(environment | {"BRIDGE_RETRY_SCHEDULE": "5,30,120"})


@pytest.fixture
def run_all_attempts(delivery_worker, run_due, receiver: Receiver, clock) -> Callable[[], None]:
    """Runs due deliveries for longer than the retry schedule: none is pending afterwards."""

    def run() -> None:
        for _ in range(6):
            run_due(delivery_worker)
            clock.now += 140 * SECOND

    return run


def counts(stores: Stores, id: str) -> tuple[int, int, int]:
    found = stores.registrations.get("t", id)
    assert found is not None
    return found[1].pending, found[1].delivered, found[1].dead


def seconds_to_live(stores: Stores, registration: str, delivery: str) -> list[int]:
    """Returns the TTLs of the records; -1 means no expiry."""
    keys = (registration, f"{registration}:progress", f"dlv:{delivery}", f"dlv:{delivery}:attempts")
    return [stores.redis.ttl(f"cph:{key}") for key in keys]


@pytest.mark.parametrize("statuses", [[(500, {})] * 4, [(200, {})]])
def test_a_redelivery_has_the_same_id_and_bytes_and_a_fresh_signature(
    delivery_worker,
    run_due,
    run_all_attempts,
    make_ended_registration,
    receiver: Receiver,
    stores: Stores,
    deliveries_of,
    clock,
    statuses: Any,
) -> None:
    clock.now = stores.clock()  # the verifying package reads the real clock
    made = make_ended_registration()
    receiver.statuses = list(statuses)
    run_due(delivery_worker)
    first = receiver.callbacks[0]
    run_all_attempts()
    (delivery,) = deliveries_of()
    clock.now = stores.clock() + 2 * SECOND
    assert stores.deliveries.redeliver("t", delivery.id, clock()) is DeliveryState.PENDING
    assert counts(stores, made.id) == (1, 0, 0)
    assert run_due(delivery_worker) == 1
    again = receiver.callbacks[-1]
    assert (again.id, again.body) == (first.id, first.body)
    assert again.headers["webhook-timestamp"] > first.headers["webhook-timestamp"]
    assert again.headers["webhook-signature"] != first.headers["webhook-signature"]
    assert again.verified_by(made.secret)
    assert again.headers["bridge-attempt"] == str(len(statuses) + 1)
    assert counts(stores, made.id) == (0, 1, 0)


def test_the_schedule_begins_anew_and_attempts_are_numbered_on(
    delivery_worker,
    run_all_attempts,
    make_ended_registration,
    receiver: Receiver,
    stores: Stores,
    deliveries_of,
    clock,
    delivery_log,
) -> None:
    make_ended_registration()
    receiver.statuses = [(500, {})] * 8
    run_all_attempts()
    (delivery,) = deliveries_of()
    assert (delivery.state, delivery.death) == (DeliveryState.DEAD, Death.TRIES)
    stores.deliveries.redeliver("t", delivery.id, clock())
    assert deliveries_of()[0].death is None
    began = clock()
    run_all_attempts()
    state, attempts = delivery_log()
    assert (state, [attempt["number"] for attempt in attempts]) == (DeliveryState.DEAD, [1, 2, 3, 4, 5, 6, 7, 8])
    assert from_ms(attempts[4]["next_at"]) - began <= 6 * SECOND


def test_refusals_are_counted_anew(
    delivery_worker,
    run_all_attempts,
    make_ended_registration,
    receiver: Receiver,
    stores: Stores,
    deliveries_of,
    clock,
    delivery_log,
) -> None:
    make_ended_registration()
    receiver.statuses = [(404, {})] * 6
    run_all_attempts()
    assert deliveries_of()[0].death is Death.REFUSED
    stores.deliveries.redeliver("t", deliveries_of()[0].id, clock())
    run_all_attempts()
    assert (len(delivery_log()[1]), deliveries_of()[0].death) == (6, Death.REFUSED)


def test_a_refusal_after_failures_of_another_kind_is_no_end(
    delivery_worker, run_all_attempts, make_ended_registration, receiver: Receiver, delivery_log
) -> None:
    make_ended_registration()
    receiver.statuses = [(503, {}), (503, {}), (404, {})]
    run_all_attempts()
    state, attempts = delivery_log()
    assert (state, len(attempts)) == (DeliveryState.DELIVERED, 4)


def test_one_that_is_only_late_goes_now(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, stores: Stores, deliveries_of, clock
) -> None:
    made = make_ended_registration()
    receiver.statuses = [(500, {})]
    run_due(delivery_worker)
    assert run_due(delivery_worker) == 0
    assert stores.deliveries.redeliver("t", deliveries_of()[0].id, clock()) is DeliveryState.PENDING
    assert counts(stores, made.id) == (1, 0, 0)
    assert run_due(delivery_worker) == 1
    assert counts(stores, made.id) == (0, 1, 0)


def test_one_that_is_under_way_goes_again_only_if_that_fails(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, stores: Stores, deliveries_of, clock
) -> None:
    """A delivery never has two attempts at a time. A redelivery counts even if the current attempt is the last."""
    make_ended_registration()
    receiver.statuses = [(410, {}), (200, {})]
    (begun,) = delivery_worker.prepare(claim_due(delivery_worker.agenda, clock(), 1))
    stores.deliveries.redeliver("t", begun.claimed.id, clock())
    assert run_due(delivery_worker) == 0
    stores.scripts.run_all(delivery_worker.do(begun)[-1:])  # without the script that marks the URL as gone
    assert deliveries_of()[0].state is DeliveryState.PENDING
    assert run_due(delivery_worker) == 1
    assert deliveries_of()[0].state is DeliveryState.DELIVERED
    clock.now += DAY
    assert run_due(delivery_worker) == 0


def test_nothing_is_sent_again_for_a_cancelled_registration(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, stores: Stores, deliveries_of, clock
) -> None:
    made = make_ended_registration()
    run_due(delivery_worker)
    stores.registrations.cancel("t", made.id)
    id = deliveries_of()[0].id
    assert deliveries_of()[0].state is DeliveryState.DELIVERED
    assert stores.deliveries.redeliver("t", id, clock()) is DeliveryState.CANCELLED
    assert run_due(delivery_worker) == 0


def test_a_redelivery_can_be_cancelled(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, stores: Stores, deliveries_of, clock
) -> None:
    made = make_ended_registration()
    run_due(delivery_worker)
    stores.deliveries.redeliver("t", deliveries_of()[0].id, clock())
    stores.registrations.cancel("t", made.id)
    assert deliveries_of()[0].state is DeliveryState.CANCELLED
    assert run_due(delivery_worker) == 0
    assert counts(stores, made.id) == (0, 0, 0)


def test_another_tenants_is_not_there(
    delivery_worker, make_ended_registration, stores: Stores, deliveries_of, clock
) -> None:
    make_ended_registration()
    assert stores.deliveries.redeliver("other", deliveries_of()[0].id, clock()) is None
    assert stores.deliveries.redeliver_dead("other", ALL, clock(), rate=10, dry_run=False) == 0


def test_a_dead_delivery_is_kept_with_its_registration_and_for_as_long(
    delivery_worker,
    run_all_attempts,
    run_due,
    make_ended_registration,
    receiver: Receiver,
    runtime: Runtime,
    deliveries_of,
    clock,
) -> None:
    made = make_ended_registration()
    receiver.statuses = [(500, {})] * 4
    run_all_attempts()
    id = deliveries_of()[0].id
    retention_s = runtime.settings.retention.total_seconds()
    assert all(retention_s - 5 <= left <= retention_s for left in seconds_to_live(runtime.stores, made.id, id))
    runtime.stores.deliveries.redeliver("t", id, clock())
    assert seconds_to_live(runtime.stores, made.id, id) == [-1] * 4
    run_due(delivery_worker)
    assert all(retention_s - 5 <= left <= retention_s for left in seconds_to_live(runtime.stores, made.id, id))


def test_dead_ones_go_again_oldest_first_and_paced(
    delivery_worker,
    run_all_attempts,
    run_due,
    make_ended_registration,
    receiver: Receiver,
    stores: Stores,
    deliveries_of,
    clock,
) -> None:
    made = [make_ended_registration(f"job-{number}", at=clock() + number * SECOND) for number in range(5)]
    receiver.statuses = [(404, {})] * 15
    clock.now += 5 * SECOND
    run_all_attempts()
    receiver.callbacks.clear()
    ordered_at = clock()
    assert stores.deliveries.redeliver_dead("t", ALL, ordered_at, rate=2, dry_run=True) == 5
    assert run_due(delivery_worker) == 0
    assert stores.deliveries.redeliver_dead("t", ALL, ordered_at, rate=2, dry_run=False) == 5
    assert stores.deliveries.redeliver_dead("t", ALL, ordered_at, rate=2, dry_run=False) == 0
    attempt_counts = []
    for _ in range(5):
        attempt_counts.append(run_due(delivery_worker))
        clock.now += SECOND / 2
    assert attempt_counts == [1] * 5
    sent = [callback.event["data"]["registration_id"] for callback in receiver.callbacks]
    assert sent == [each.id for each in made]


def test_two_orders_for_one_destination_do_not_add_up(
    delivery_worker, run_all_attempts, make_ended_registration, receiver: Receiver, stores: Stores, deliveries_of, clock
) -> None:
    made = [make_ended_registration(f"job-{number}") for number in range(4)]
    receiver.statuses = [(404, {})] * 12
    run_all_attempts()
    for each in made:
        which = DeadDeliveryFilter(registration_id=each.id, destination="here", since=None, until=None)
        assert stores.deliveries.redeliver_dead("t", which, clock(), rate=1, dry_run=False) == 1
    due = sorted(delivery.next_at for delivery in deliveries_of())
    assert due == [clock() + number * SECOND for number in range(4)]


def test_nobody_waits_behind_redeliveries_that_were_discarded(
    delivery_worker,
    run_all_attempts,
    make_ended_registration,
    receiver: Receiver,
    runtime: Runtime,
    deliveries_of,
    clock,
) -> None:
    for number in range(4):
        make_ended_registration(f"job-{number}")
    receiver.statuses = [(404, {})] * 12
    run_all_attempts()
    lane = lane_of("t", "here")
    runtime.destinations.pause(lane, clock())
    for _ in range(3):
        assert runtime.stores.deliveries.redeliver_dead("t", ALL, clock(), rate=1, dry_run=False) == 4
        assert runtime.destinations.discard(lane, clock()) == 4
    assert runtime.stores.deliveries.redeliver_dead("t", ALL, clock(), rate=1, dry_run=False) == 4
    assert min(delivery.next_at for delivery in deliveries_of()) == clock()


def test_a_410_ends_every_delivery_to_that_url_and_to_no_other(
    delivery_worker,
    run_due,
    run_all_attempts,
    make_ended_registration,
    receiver: Receiver,
    stores: Stores,
    deliveries_of,
) -> None:
    receiver.statuses = [(500, {}), (410, {})]
    made = []
    for number in range(2):
        made.append(make_ended_registration(f"job-{number}"))
        run_due(delivery_worker)
    made.append(make_ended_registration("job-2"))
    other = make_ended_registration("job-3", callback_url=receiver.url + "/other")
    run_all_attempts()
    assert [callback.path.endswith("/other") for callback in receiver.callbacks] == [False, False, True]
    deaths = {delivery.registration_id: (delivery.death, delivery.attempts) for delivery in deliveries_of()}
    assert [deaths[each.id] for each in (*made, other)] == [
        (Death.GONE_BEFORE, 1),
        (Death.GONE, 1),
        (Death.GONE_BEFORE, 0),
        (None, 1),
    ]
    shown = [stores.registrations.get("t", each.id) for each in (*made, other)]
    assert [found and found[1].callback_gone for found in shown] == [True, True, True, False]
    assert [counts(stores, each.id) for each in made] == [(0, 0, 1)] * 3


def test_a_url_that_is_gone_is_so_for_one_tenant(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, runtime: Runtime, deliveries_of
) -> None:
    receiver.statuses = [(410, {})]
    make_ended_registration()
    run_due(delivery_worker)
    make_ended_registration("job-2", tenant="other")
    run_due(delivery_worker)
    assert len(receiver.callbacks) == 2


def test_a_new_registration_may_try_a_url_that_is_gone_and_its_success_opens_it_to_all(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, stores: Stores, deliveries_of, clock
) -> None:
    receiver.statuses = [(410, {}), (410, {}), (200, {})]
    old = make_ended_registration()
    run_due(delivery_worker)
    for number in range(2):
        clock.now += SECOND
        newer = make_ended_registration(f"new-{number}", at=clock())
        assert run_due(delivery_worker) == 1
        found = stores.registrations.get("t", newer.id)
        assert found is not None
        assert found[1].callback_gone is (number == 0)
    assert len(receiver.callbacks) == 3
    (first,) = (delivery for delivery in deliveries_of() if delivery.registration_id == old.id)
    stores.deliveries.redeliver("t", first.id, clock())
    assert run_due(delivery_worker) == 1
    assert len(receiver.callbacks) == 4


def test_a_redelivery_to_a_url_that_is_gone_is_dead_at_once_and_says_why(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, stores: Stores, deliveries_of, clock
) -> None:
    receiver.statuses = [(410, {})]
    make_ended_registration()
    run_due(delivery_worker)
    stores.deliveries.redeliver("t", deliveries_of()[0].id, clock())
    assert run_due(delivery_worker) == 1
    assert len(receiver.callbacks) == 1
    assert (deliveries_of()[0].death, deliveries_of()[0].attempts) == (Death.GONE_BEFORE, 1)


def test_the_url_that_is_gone_is_not_legible_in_redis(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, runtime: Runtime
) -> None:
    receiver.statuses = [(410, {})]
    make_ended_registration()
    run_due(delivery_worker)
    ((digest, _),) = runtime.stores.redis.zrange("cph:gone:t", 0, -1, withscores=True)
    assert len(digest) == 32
    assert runtime.stores.redis.ttl("cph:gone:t") > runtime.settings.retention.total_seconds() - 5


@pytest.mark.parametrize(
    ("statuses", "verdict"), [([], "delivered"), ([(404, {})], "refused"), ([(404, {}), (500, {})], "retry")]
)
def test_a_callback_is_verified_while_the_job_still_runs(
    delivery_worker, run_due, registration, receiver: Receiver, stores: Stores, clock, statuses: Any, verdict: str
) -> None:
    receiver.statuses = list(statuses)
    made = registration(callback_url=receiver.url, destination="here", verify=True)
    stores.registrations.add(made)
    for _ in statuses or [0]:
        run_due(delivery_worker)
        clock.now += 6 * SECOND
    body = receiver.callbacks[0].event
    assert body["type"] == "callback.test"
    assert body["data"] == {
        "registration_id": made.id,
        "project": "default",
        "observed_at": "2026-01-02T03:04:05Z",
        "metadata": {"room": "ops"},
    }
    found = stores.registrations.get("t", made.id)
    assert found is not None
    assert (found[1].callback_verdict, found[1].state) == (verdict, "watching")
    assert found[0].verify


def test_cancelling_ends_the_test_of_the_callback(
    delivery_worker, run_due, registration, receiver: Receiver, stores: Stores, deliveries_of
) -> None:
    made = registration(callback_url=receiver.url, destination="here", verify=True)
    stores.registrations.add(made)
    stores.registrations.cancel("t", made.id)
    assert run_due(delivery_worker) == 0
    assert deliveries_of()[0].state is DeliveryState.CANCELLED
