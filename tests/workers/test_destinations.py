"""Destinations that are slow, unavailable or paused do not affect others. The clock is manual."""

from datetime import timedelta
from threading import Thread

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.devkit.processes import wait_until
from app.domain.delivery import DeliveryState
from app.domain.destination import OPENS_AFTER, PAUSES, DestinationState, lane_of
from tests.support.claims import claim_due
from tests.support.log_lines import event_names
from tests.support.receiver import Receiver
from workers.engine.drain_loop import DrainLoop, ThreadPool
from workers.engine.stop_flag import StopFlag

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
CONCURRENCY = 16
RATE = 200


@pytest.fixture(autouse=True)
def _capture_info_logs(caplog) -> None:
    caplog.set_level("INFO", logger="bridge")


def test_one_that_only_fails_is_tried_with_one_probe_at_a_time(
    delivery_worker, run_due, make_pending_deliveries, receiver: Receiver, clock, shown_destination, caplog
) -> None:
    make_pending_deliveries(100)
    receiver.fail()
    assert run_due(delivery_worker) == CONCURRENCY
    for pause in PAUSES[:4]:
        assert run_due(delivery_worker) == 0
        clock.now += pause - SECOND
        assert run_due(delivery_worker) == 0
        clock.now += SECOND
        assert run_due(delivery_worker) == 1
    assert shown_destination().state is DestinationState.FAILING
    assert event_names(caplog, "destination.") == ["destination.fails"]


def test_what_the_breaker_kept_from_starting_is_no_try(
    delivery_worker, run_due, make_pending_deliveries, receiver: Receiver, clock, stores: Stores
) -> None:
    make_pending_deliveries(100)
    receiver.fail()
    run_due(delivery_worker)
    clock.now += PAUSES[0]
    run_due(delivery_worker)
    found, _ = stores.deliveries.page("t", limit=200, cursor=None, since=None, until=None, wanted=lambda _: True)
    assert sum(delivery.attempts for delivery in found) == len(receiver.callbacks) == CONCURRENCY + 1


def test_who_is_back_is_not_run_over(
    delivery_worker, run_due, make_pending_deliveries, receiver: Receiver, clock, caplog
) -> None:
    make_pending_deliveries(300)
    receiver.fail()
    run_due(delivery_worker)
    receiver.heal()
    clock.now += PAUSES[0]
    attempt_counts = []
    for _ in range(CONCURRENCY + 2):
        attempt_counts.append(run_due(delivery_worker))
        clock.now += SECOND
    assert attempt_counts == [*range(1, CONCURRENCY + 1), CONCURRENCY, CONCURRENCY]
    assert event_names(caplog, "destination.") == ["destination.fails", "destination.answers_again"]


def test_a_few_failures_among_answers_open_nothing(
    delivery_worker, make_pending_deliveries, receiver: Receiver, clock, shown_destination, stores: Stores
) -> None:
    make_pending_deliveries(4 * OPENS_AFTER)
    receiver.statuses = [*[(500, {})] * (OPENS_AFTER - 1), (200, {})] * 4
    for _ in range(4 * OPENS_AFTER):
        (task,) = delivery_worker.prepare(claim_due(delivery_worker.agenda, clock(), 1))
        stores.scripts.run_all(delivery_worker.do(task))
    assert shown_destination().state is DestinationState.OK


@pytest.mark.parametrize("status", [404, 410])
def test_one_url_that_is_refused_stops_no_other_at_the_same_host(
    delivery_worker, run_due, make_pending_deliveries, receiver: Receiver, shown_destination, status: int
) -> None:
    make_pending_deliveries(100)
    receiver.fail(status)
    assert [run_due(delivery_worker), run_due(delivery_worker)] == [CONCURRENCY, CONCURRENCY]
    assert shown_destination().state is DestinationState.OK


def test_retry_after_pauses_the_destination_and_429_narrows_it(
    delivery_worker, run_due, make_pending_deliveries, receiver: Receiver, clock, shown_destination
) -> None:
    make_pending_deliveries(100)
    receiver.statuses = [(429, {"Retry-After": "20"})]
    run_due(delivery_worker)
    assert shown_destination().concurrency == CONCURRENCY // 2
    clock.now += 19 * SECOND
    assert run_due(delivery_worker) == 0
    clock.now += SECOND
    assert run_due(delivery_worker) == CONCURRENCY // 2


@pytest.mark.slow
def test_no_more_start_in_a_second_than_its_rate_allows(
    delivery_worker, run_due, make_pending_deliveries, receiver: Receiver, clock
) -> None:
    make_pending_deliveries(1_000)
    at_first = sum(run_due(delivery_worker) for _ in range(20))
    assert at_first == RATE
    for _ in range(10):
        clock.now += SECOND / 10
        assert sum(run_due(delivery_worker) for _ in range(5)) == RATE / 10


def test_a_failure_of_one_tenant_is_not_felt_by_another(
    delivery_worker, run_due, make_pending_deliveries, receiver: Receiver, shown_destination
) -> None:
    make_pending_deliveries(100, tenant="t")
    receiver.fail()
    run_due(delivery_worker)
    receiver.heal()
    make_pending_deliveries(10, tenant="u")
    assert run_due(delivery_worker) == 10
    assert shown_destination("u").state is DestinationState.OK


def test_one_that_answers_nothing_costs_the_others_nothing(
    runtime: Runtime, delivery_worker, make_pending_deliveries, receiver: Receiver, clock
) -> None:
    """More deliveries hang than their tenant has threads. The others arrive before the first of these times out."""
    with Receiver() as unresponsive:
        unresponsive.gate.clear()
        make_pending_deliveries(1_000, destination="unresponsive", url=unresponsive.url)
        for number in range(20):
            make_pending_deliveries(5, destination=f"responsive-{number}")
        drain_loop = DrainLoop(
            delivery_worker,
            ThreadPool(2 * (CONCURRENCY + 2), delivery_worker.do),
            runtime.stores.scripts,
            clock,
            is_stuck=lambda: False,
            crash_point=runtime.crash_point,
        )
        stopping = StopFlag()
        thread = Thread(target=drain_loop.run, kwargs={"seconds": 30, "stopping": stopping})
        thread.start()
        wait_until(lambda: len(receiver.callbacks) == 100, what="deliveries to the other destinations")
        unresponsive_count = len(unresponsive.callbacks)
        stopping.set()
        unresponsive.gate.set()
        thread.join()
    assert unresponsive_count <= CONCURRENCY


@pytest.mark.slow
def test_after_hours_everything_arrives_by_age_and_without_a_flood(
    delivery_worker, run_due, make_pending_deliveries, receiver: Receiver, clock, delivery_states
) -> None:
    receiver.fail()
    for _ in range(6):
        make_pending_deliveries(50)
        for _ in range(120):
            run_due(delivery_worker)
            clock.now += 30 * SECOND
    probes = len(receiver.callbacks)
    assert probes <= CONCURRENCY + 6 * HOUR / PAUSES[-1] + len(PAUSES)
    receiver.heal()
    step, attempt_counts = SECOND / 20, []
    while len(receiver.callbacks) == probes:
        clock.now += step
        attempt_counts = [run_due(delivery_worker)]
    for _ in range(60):
        clock.now += step
        attempt_counts.append(run_due(delivery_worker))
    assert attempt_counts[0] == 1
    assert max(attempt_counts) <= CONCURRENCY
    within_a_second = [sum(attempt_counts[first : first + 20]) for first in range(40)]
    assert max(within_a_second) <= RATE * 5 / 4  # tokens accumulate while the concurrency is still low
    tried = {callback.id for callback in receiver.callbacks[:probes]}
    first_arrivals = [callback.event for callback in receiver.callbacks[probes:] if callback.id not in tried]
    assert len(first_arrivals) > 200
    assert first_arrivals == sorted(first_arrivals, key=lambda event: event["timestamp"])
    while DeliveryState.PENDING in delivery_states():
        clock.now += HOUR
        run_due(delivery_worker)
    assert set(delivery_states()) == {DeliveryState.DELIVERED}
    assert len(delivery_states()) == 300


def test_a_pause_puts_what_was_claimed_already_on_hold_and_costs_no_try(
    delivery_worker,
    run_due,
    make_pending_deliveries,
    receiver: Receiver,
    clock,
    delivery_states,
    shown_destination,
    runtime: Runtime,
) -> None:
    make_pending_deliveries(3)
    claimed = claim_due(delivery_worker.agenda, clock(), 100)
    runtime.destinations.pause(lane_of("t", "here"), clock.now)
    assert delivery_worker.prepare(claimed) == []
    assert claim_due(delivery_worker.agenda, clock(), 100) == ()
    assert delivery_worker.agenda.next_due_at() is None
    assert delivery_states() == [DeliveryState.HELD] * 3
    assert (shown_destination().state, shown_destination().deliveries) == (DestinationState.PAUSED, 3)
    assert not runtime.destinations.resume(shown_destination().lane, clock.now)
    assert run_due(delivery_worker) == 3
    assert [callback.headers["bridge-attempt"] for callback in receiver.callbacks] == ["1"] * 3


def test_an_attempt_under_way_when_its_destination_is_paused_counts(
    delivery_worker, run_due, make_pending_deliveries, receiver: Receiver, clock, delivery_states, runtime: Runtime
) -> None:
    make_pending_deliveries(1)
    (task,) = delivery_worker.prepare(claim_due(delivery_worker.agenda, clock(), 1))
    runtime.destinations.pause(lane_of("t", "here"), clock.now)
    runtime.stores.scripts.run_all(delivery_worker.do(task))
    assert delivery_states() == [DeliveryState.DELIVERED]


def test_what_is_discarded_is_dead_and_what_comes_later_is_on_hold(
    delivery_worker, run_due, make_pending_deliveries, receiver: Receiver, clock, delivery_states, runtime: Runtime
) -> None:
    make_pending_deliveries(1_000)
    make_pending_deliveries(100)
    lane = lane_of("t", "here")
    assert runtime.destinations.discard(lane, clock.now) == 0
    claimed = claim_due(delivery_worker.agenda, clock(), 3)
    assert len(claimed) == 3  # then the worker is killed
    clock.now += runtime.settings.lease
    runtime.destinations.pause(lane, clock.now)
    assert runtime.destinations.discard(lane, clock.now) == 1_100
    make_pending_deliveries(1)
    assert run_due(delivery_worker) == 0
    runtime.destinations.resume(lane, clock.now)
    assert run_due(delivery_worker) == 1
    assert delivery_states().count(DeliveryState.DEAD) == 1_100
