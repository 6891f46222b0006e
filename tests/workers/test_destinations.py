"""Destinations that are slow, dead, paused: what it costs them, and nobody else. The test owns the time."""

from datetime import timedelta
from threading import Thread

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.devkit.processes import wait_until
from app.domain.delivery import DeliveryState
from app.domain.destination import OPENS_AFTER, PAUSES, DestinationState, lane_of
from tests.support.claims import claim_due
from tests.support.receiver import Receiver
from workers.engine.drain_loop import DrainLoop, ThreadPool
from workers.engine.stop_flag import StopFlag

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
PLACES = 16
RATE = 200


def told(caplog) -> list[str]:
    return [record.message for record in caplog.records if record.message.startswith("destination.")]


@pytest.fixture(autouse=True)
def _hears(caplog) -> None:
    caplog.set_level("INFO", logger="bridge")


def test_one_that_only_fails_is_tried_with_one_probe_at_a_time(
    delivering, turn, owe, receiver: Receiver, time, look, caplog
) -> None:
    owe(100)
    receiver.fail()
    assert turn(delivering) == PLACES
    for pause in PAUSES[:4]:
        assert turn(delivering) == 0
        time.now += pause - SECOND
        assert turn(delivering) == 0
        time.now += SECOND
        assert turn(delivering) == 1
    assert look().state is DestinationState.FAILING
    assert told(caplog) == ["destination.fails"]


def test_what_the_breaker_kept_from_starting_is_no_try(
    delivering, turn, owe, receiver: Receiver, time, stores: Stores
) -> None:
    owe(100)
    receiver.fail()
    turn(delivering)
    time.now += PAUSES[0]
    turn(delivering)
    found, _ = stores.deliveries.page("t", limit=200, cursor=None, since=None, until=None, wanted=lambda _: True)
    assert sum(delivery.attempts for delivery in found) == len(receiver.callbacks) == PLACES + 1


def test_who_is_back_is_not_run_over(delivering, turn, owe, receiver: Receiver, time, caplog) -> None:
    owe(300)
    receiver.fail()
    turn(delivering)
    receiver.heal()
    time.now += PAUSES[0]
    at_once = []
    for _ in range(PLACES + 2):
        at_once.append(turn(delivering))
        time.now += SECOND
    assert at_once == [*range(1, PLACES + 1), PLACES, PLACES]
    assert told(caplog) == ["destination.fails", "destination.answers_again"]


def test_a_few_failures_among_answers_open_nothing(
    delivering, owe, receiver: Receiver, time, look, stores: Stores
) -> None:
    owe(4 * OPENS_AFTER)
    receiver.statuses = [*[(500, {})] * (OPENS_AFTER - 1), (200, {})] * 4
    for _ in range(4 * OPENS_AFTER):
        (task,) = delivering.prepare(claim_due(delivering.agenda, time(), 1))
        stores.scripts.run_all(delivering.do(task))
    assert look().state is DestinationState.OK


@pytest.mark.parametrize("status", [404, 410])
def test_one_url_that_is_refused_stops_no_other_at_the_same_host(
    delivering, turn, owe, receiver: Receiver, look, status: int
) -> None:
    owe(100)
    receiver.fail(status)
    assert [turn(delivering), turn(delivering)] == [PLACES, PLACES]
    assert look().state is DestinationState.OK


def test_retry_after_pauses_the_destination_and_429_narrows_it(
    delivering, turn, owe, receiver: Receiver, time, look
) -> None:
    owe(100)
    receiver.statuses = [(429, {"Retry-After": "20"})]
    turn(delivering)
    assert look().concurrency == PLACES // 2
    time.now += 19 * SECOND
    assert turn(delivering) == 0
    time.now += SECOND
    assert turn(delivering) == PLACES // 2


@pytest.mark.slow
def test_no_more_start_in_a_second_than_its_pace_allows(delivering, turn, owe, receiver: Receiver, time) -> None:
    owe(1_000)
    at_first = sum(turn(delivering) for _ in range(20))
    assert at_first == RATE
    for _ in range(10):
        time.now += SECOND / 10
        assert sum(turn(delivering) for _ in range(5)) == RATE / 10


def test_a_failure_of_one_tenant_is_not_felt_by_another(delivering, turn, owe, receiver: Receiver, look) -> None:
    owe(100, tenant="t")
    receiver.fail()
    turn(delivering)
    receiver.heal()
    owe(10, tenant="u")
    assert turn(delivering) == 10
    assert look("u").state is DestinationState.OK


def test_one_that_answers_nothing_costs_the_others_nothing(
    runtime: Runtime, delivering, owe, receiver: Receiver, time
) -> None:
    """Fewer threads than deliveries that hang; everything else arrives before the first of these is given up."""
    with Receiver() as sick:
        sick.gate.clear()
        owe(1_000, destination="sick", url=sick.url)
        for number in range(20):
            owe(5, destination=f"well-{number}")
        drain = DrainLoop(
            delivering, ThreadPool(PLACES + 2, delivering.do), runtime.stores.scripts, time, runtime.crash_point
        )
        stopping = StopFlag()
        thread = Thread(target=drain.run, kwargs={"seconds": 30, "stopping": stopping})
        thread.start()
        wait_until(lambda: len(receiver.callbacks) == 100, what="what is not sick")
        arrived_at_the_sick = len(sick.callbacks)
        stopping.set()
        sick.gate.set()
        thread.join()
    assert arrived_at_the_sick <= PLACES


@pytest.mark.slow
def test_after_hours_everything_arrives_by_age_and_without_a_flood(
    delivering, turn, owe, receiver: Receiver, time, states
) -> None:
    receiver.fail()
    for _ in range(6):
        owe(50)
        for _ in range(120):
            turn(delivering)
            time.now += 30 * SECOND
    probes = len(receiver.callbacks)
    assert probes <= PLACES + 6 * HOUR / PAUSES[-1] + len(PAUSES)
    receiver.heal()
    step, at_once = SECOND / 20, []
    while len(receiver.callbacks) == probes:
        time.now += step
        at_once = [turn(delivering)]
    for _ in range(60):
        time.now += step
        at_once.append(turn(delivering))
    assert at_once[0] == 1
    assert max(at_once) <= PLACES
    within_a_second = [sum(at_once[first : first + 20]) for first in range(40)]
    assert max(within_a_second) <= RATE * 5 / 4  # what it saved up while it began with few places
    tried = {callback.id for callback in receiver.callbacks[:probes]}
    came = [callback.event for callback in receiver.callbacks[probes:] if callback.id not in tried]
    assert len(came) > 200
    assert came == sorted(came, key=lambda event: event["timestamp"])
    while DeliveryState.PENDING in states():
        time.now += HOUR
        turn(delivering)
    assert set(states()) == {DeliveryState.DELIVERED}
    assert len(states()) == 300


def test_a_pause_holds_what_was_claimed_already_and_costs_no_try(
    delivering, turn, owe, receiver: Receiver, time, states, look, runtime: Runtime
) -> None:
    owe(3)
    claimed = claim_due(delivering.agenda, time(), 100)
    runtime.destinations.pause(lane_of("t", "here"), time.now)
    assert delivering.prepare(claimed) == []
    assert claim_due(delivering.agenda, time(), 100) == ()
    assert delivering.agenda.next_due_at() is None
    assert states() == [DeliveryState.HELD] * 3
    assert (look().state, look().deliveries) == (DestinationState.PAUSED, 3)
    assert not runtime.destinations.resume(look().lane, time.now)
    assert turn(delivering) == 3
    assert [callback.headers["bridge-attempt"] for callback in receiver.callbacks] == ["1"] * 3


def test_an_attempt_under_way_when_its_destination_is_paused_counts(
    delivering, turn, owe, receiver: Receiver, time, states, runtime: Runtime
) -> None:
    owe(1)
    (task,) = delivering.prepare(claim_due(delivering.agenda, time(), 1))
    runtime.destinations.pause(lane_of("t", "here"), time.now)
    runtime.stores.scripts.run_all(delivering.do(task))
    assert states() == [DeliveryState.DELIVERED]


def test_what_is_dropped_is_dead_and_what_comes_later_is_held(
    delivering, turn, owe, receiver: Receiver, time, states, runtime: Runtime
) -> None:
    owe(1_000)
    owe(100)
    lane = lane_of("t", "here")
    assert runtime.destinations.discard(lane, time.now) == 0
    claimed = claim_due(delivering.agenda, time(), 3)
    assert len(claimed) == 3  # and then the worker is killed
    time.now += runtime.settings.lease
    runtime.destinations.pause(lane, time.now)
    assert runtime.destinations.discard(lane, time.now) == 1_100
    owe(1)
    assert turn(delivering) == 0
    runtime.destinations.resume(lane, time.now)
    assert turn(delivering) == 1
    assert states().count(DeliveryState.DEAD) == 1_100
