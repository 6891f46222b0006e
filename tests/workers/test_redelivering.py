"""Deliveries that go out once more, and those that are not sent any more: 410."""

from datetime import timedelta
from typing import Any

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.domain.delivery import Death, DeliveryState
from app.domain.destination import lane_of
from app.domain.times import from_ms
from app.store.deliveries import DeadOnes
from tests.support.claims import claim_due
from tests.support.receiver import Receiver

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
ALL = DeadOnes(registration_id=None, destination=None, since=None, until=None)


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load(environment | {"BRIDGE_RETRY_SCHEDULE": "5,30,120"})


@pytest.fixture
def die(delivering, turn, receiver: Receiver, time) -> Any:
    """Works off what is due until every try is used up."""

    def fail() -> None:
        for _ in range(6):
            turn(delivering)
            time.now += 140 * SECOND

    return fail


def counts(stores: Stores, id: str) -> tuple[int, int, int]:
    found = stores.registrations.get("t", id)
    assert found is not None
    return found[1].pending, found[1].delivered, found[1].dead


def seconds_to_live(stores: Stores, registration: str, delivery: str) -> list[int]:
    """-1 is for ever."""
    keys = (registration, f"{registration}:progress", f"dlv:{delivery}", f"dlv:{delivery}:attempts")
    return [stores.redis.ttl(f"cph:{key}") for key in keys]


@pytest.mark.parametrize("statuses", [[(500, {})] * 4, [(200, {})]])
def test_a_redelivery_has_the_same_id_and_bytes_and_a_fresh_signature(
    delivering, turn, die, ended, receiver: Receiver, stores: Stores, deliveries_of, time, statuses: Any
) -> None:
    time.now = stores.clock()  # the package that verifies looks at the real clock
    made = ended()
    receiver.statuses = list(statuses)
    turn(delivering)
    first = receiver.callbacks[0]
    die()
    (delivery,) = deliveries_of()
    time.now = stores.clock() + 2 * SECOND
    assert stores.deliveries.redeliver("t", delivery.id, time()) is DeliveryState.PENDING
    assert counts(stores, made.id) == (1, 0, 0)
    assert turn(delivering) == 1
    again = receiver.callbacks[-1]
    assert (again.id, again.body) == (first.id, first.body)
    assert again.headers["webhook-timestamp"] > first.headers["webhook-timestamp"]
    assert again.headers["webhook-signature"] != first.headers["webhook-signature"]
    assert again.verified_by(made.secret)
    assert again.headers["bridge-attempt"] == str(len(statuses) + 1)
    assert counts(stores, made.id) == (0, 1, 0)


def test_the_schedule_begins_anew_and_attempts_are_numbered_on(
    delivering, die, ended, receiver: Receiver, stores: Stores, deliveries_of, time, log_of
) -> None:
    ended()
    receiver.statuses = [(500, {})] * 8
    die()
    (delivery,) = deliveries_of()
    assert (delivery.state, delivery.death) == (DeliveryState.DEAD, Death.TRIES)
    stores.deliveries.redeliver("t", delivery.id, time())
    assert deliveries_of()[0].death is None
    began = time()
    die()
    state, attempts = log_of()
    assert (state, [attempt["number"] for attempt in attempts]) == (DeliveryState.DEAD, [1, 2, 3, 4, 5, 6, 7, 8])
    assert from_ms(attempts[4]["next_at"]) - began <= 6 * SECOND


def test_refusals_are_counted_anew(
    delivering, die, ended, receiver: Receiver, stores: Stores, deliveries_of, time, log_of
) -> None:
    ended()
    receiver.statuses = [(404, {})] * 6
    die()
    assert deliveries_of()[0].death is Death.REFUSED
    stores.deliveries.redeliver("t", deliveries_of()[0].id, time())
    die()
    assert (len(log_of()[1]), deliveries_of()[0].death) == (6, Death.REFUSED)


def test_a_refusal_after_failures_of_another_kind_is_no_end(delivering, die, ended, receiver: Receiver, log_of) -> None:
    ended()
    receiver.statuses = [(503, {}), (503, {}), (404, {})]
    die()
    state, attempts = log_of()
    assert (state, len(attempts)) == (DeliveryState.DELIVERED, 4)


def test_one_that_is_only_late_goes_now(
    delivering, turn, ended, receiver: Receiver, stores: Stores, deliveries_of, time
) -> None:
    made = ended()
    receiver.statuses = [(500, {})]
    turn(delivering)
    assert turn(delivering) == 0
    assert stores.deliveries.redeliver("t", deliveries_of()[0].id, time()) is DeliveryState.PENDING
    assert counts(stores, made.id) == (1, 0, 0)
    assert turn(delivering) == 1
    assert counts(stores, made.id) == (0, 1, 0)


def test_one_that_is_under_way_goes_again_only_if_that_fails(
    delivering, turn, ended, receiver: Receiver, stores: Stores, deliveries_of, time
) -> None:
    """Never twice at the same time; and even the last try of the schedule is not the end of it."""
    ended()
    receiver.statuses = [(410, {}), (200, {})]
    (begun,) = delivering.prepare(claim_due(delivering.agenda, time(), 1))
    stores.deliveries.redeliver("t", begun.claimed.id, time())
    assert turn(delivering) == 0
    stores.scripts.run_all(delivering.do(begun)[-1:])  # without what the 410 means to others
    assert deliveries_of()[0].state is DeliveryState.PENDING
    assert turn(delivering) == 1
    assert deliveries_of()[0].state is DeliveryState.DELIVERED
    time.now += DAY
    assert turn(delivering) == 0


def test_nothing_is_sent_again_for_a_cancelled_registration(
    delivering, turn, ended, receiver: Receiver, stores: Stores, deliveries_of, time
) -> None:
    made = ended()
    turn(delivering)
    stores.registrations.cancel("t", made.id)
    id = deliveries_of()[0].id
    assert deliveries_of()[0].state is DeliveryState.DELIVERED
    assert stores.deliveries.redeliver("t", id, time()) is DeliveryState.CANCELLED
    assert turn(delivering) == 0


def test_a_redelivery_can_be_cancelled(
    delivering, turn, ended, receiver: Receiver, stores: Stores, deliveries_of, time
) -> None:
    made = ended()
    turn(delivering)
    stores.deliveries.redeliver("t", deliveries_of()[0].id, time())
    stores.registrations.cancel("t", made.id)
    assert deliveries_of()[0].state is DeliveryState.CANCELLED
    assert turn(delivering) == 0
    assert counts(stores, made.id) == (0, 0, 0)


def test_another_tenants_is_not_there(delivering, ended, stores: Stores, deliveries_of, time) -> None:
    ended()
    assert stores.deliveries.redeliver("other", deliveries_of()[0].id, time()) is None
    assert stores.deliveries.redeliver_dead("other", ALL, time(), rate=10, dry_run=False) == 0


def test_a_dead_delivery_is_kept_with_its_registration_and_for_as_long(
    delivering, die, turn, ended, receiver: Receiver, runtime: Runtime, deliveries_of, time
) -> None:
    made = ended()
    receiver.statuses = [(500, {})] * 4
    die()
    id = deliveries_of()[0].id
    kept = runtime.settings.retention_s
    assert all(kept - 5 <= left <= kept for left in seconds_to_live(runtime.stores, made.id, id))
    runtime.stores.deliveries.redeliver("t", id, time())
    assert seconds_to_live(runtime.stores, made.id, id) == [-1] * 4
    turn(delivering)
    assert all(kept - 5 <= left <= kept for left in seconds_to_live(runtime.stores, made.id, id))


def test_dead_ones_go_again_oldest_first_and_paced(
    delivering, die, turn, ended, receiver: Receiver, stores: Stores, deliveries_of, time
) -> None:
    made = [ended(f"job-{number}", at=time() + number * SECOND) for number in range(5)]
    receiver.statuses = [(404, {})] * 15
    time.now += 5 * SECOND
    die()
    receiver.callbacks.clear()
    asked = time()
    assert stores.deliveries.redeliver_dead("t", ALL, asked, rate=2, dry_run=True) == 5
    assert turn(delivering) == 0
    assert stores.deliveries.redeliver_dead("t", ALL, asked, rate=2, dry_run=False) == 5
    assert stores.deliveries.redeliver_dead("t", ALL, asked, rate=2, dry_run=False) == 0
    came = []
    for _ in range(5):
        came.append(turn(delivering))
        time.now += SECOND / 2
    assert came == [1] * 5
    told = [callback.event["data"]["registration_id"] for callback in receiver.callbacks]
    assert told == [each.id for each in made]


def test_two_orders_for_one_destination_do_not_add_up(
    delivering, die, ended, receiver: Receiver, stores: Stores, deliveries_of, time
) -> None:
    made = [ended(f"job-{number}") for number in range(4)]
    receiver.statuses = [(404, {})] * 12
    die()
    for each in made:
        which = DeadOnes(registration_id=each.id, destination="here", since=None, until=None)
        assert stores.deliveries.redeliver_dead("t", which, time(), rate=1, dry_run=False) == 1
    due = sorted(delivery.next_at for delivery in deliveries_of())
    assert due == [time() + number * SECOND for number in range(4)]


def test_nobody_waits_behind_redeliveries_that_were_dropped(
    delivering, die, ended, receiver: Receiver, runtime: Runtime, deliveries_of, time
) -> None:
    for number in range(4):
        ended(f"job-{number}")
    receiver.statuses = [(404, {})] * 12
    die()
    lane = lane_of("t", "here")
    runtime.destinations.pause(lane, time())
    for _ in range(3):
        assert runtime.stores.deliveries.redeliver_dead("t", ALL, time(), rate=1, dry_run=False) == 4
        assert runtime.destinations.discard(lane, time()) == 4
    assert runtime.stores.deliveries.redeliver_dead("t", ALL, time(), rate=1, dry_run=False) == 4
    assert min(delivery.next_at for delivery in deliveries_of()) == time()


def test_a_410_ends_every_delivery_to_that_url_and_to_no_other(
    delivering, turn, die, ended, receiver: Receiver, stores: Stores, deliveries_of
) -> None:
    receiver.statuses = [(500, {}), (410, {})]
    made = []
    for number in range(2):
        made.append(ended(f"job-{number}"))
        turn(delivering)
    made.append(ended("job-2"))
    other = ended("job-3", callback_url=receiver.url + "/other")
    die()
    assert [callback.path.endswith("/other") for callback in receiver.callbacks] == [False, False, True]
    deaths = {delivery.registration_id: (delivery.death, delivery.attempts) for delivery in deliveries_of()}
    assert [deaths[each.id] for each in (*made, other)] == [
        (Death.GONE_BEFORE, 1),
        (Death.GONE, 1),
        (Death.GONE_BEFORE, 0),
        (None, 1),
    ]
    shown = [stores.registrations.get("t", each.id) for each in (*made, other)]
    assert [found and found[1].gone for found in shown] == [True, True, True, False]
    assert [counts(stores, each.id) for each in made] == [(0, 0, 1)] * 3


def test_a_url_that_is_gone_is_so_for_one_tenant(
    delivering, turn, ended, receiver: Receiver, runtime: Runtime, deliveries_of
) -> None:
    receiver.statuses = [(410, {})]
    ended()
    turn(delivering)
    ended("job-2", tenant="other")
    turn(delivering)
    assert len(receiver.callbacks) == 2


def test_a_new_registration_may_try_a_url_that_is_gone_and_its_success_opens_it_to_all(
    delivering, turn, ended, receiver: Receiver, stores: Stores, deliveries_of, time
) -> None:
    receiver.statuses = [(410, {}), (410, {}), (200, {})]
    old = ended()
    turn(delivering)
    for number in range(2):
        time.now += SECOND
        newer = ended(f"new-{number}", at=time())
        assert turn(delivering) == 1
        found = stores.registrations.get("t", newer.id)
        assert found is not None
        assert found[1].gone is (number == 0)
    assert len(receiver.callbacks) == 3
    (first,) = (delivery for delivery in deliveries_of() if delivery.registration_id == old.id)
    stores.deliveries.redeliver("t", first.id, time())
    assert turn(delivering) == 1
    assert len(receiver.callbacks) == 4


def test_a_redelivery_to_a_url_that_is_gone_is_dead_at_once_and_says_why(
    delivering, turn, ended, receiver: Receiver, stores: Stores, deliveries_of, time
) -> None:
    receiver.statuses = [(410, {})]
    ended()
    turn(delivering)
    stores.deliveries.redeliver("t", deliveries_of()[0].id, time())
    assert turn(delivering) == 1
    assert len(receiver.callbacks) == 1
    assert (deliveries_of()[0].death, deliveries_of()[0].attempts) == (Death.GONE_BEFORE, 1)


def test_the_url_that_is_gone_is_not_legible_in_redis(
    delivering, turn, ended, receiver: Receiver, runtime: Runtime
) -> None:
    receiver.statuses = [(410, {})]
    ended()
    turn(delivering)
    ((digest, _),) = runtime.stores.redis.zrange("cph:gone:t", 0, -1, withscores=True)
    assert len(digest) == 32
    assert runtime.stores.redis.ttl("cph:gone:t") > runtime.settings.retention_s - 5


@pytest.mark.parametrize(
    ("statuses", "verdict"), [([], "delivered"), ([(404, {})], "refused"), ([(404, {}), (500, {})], "retry")]
)
def test_a_callback_is_verified_while_the_job_still_runs(
    delivering, turn, registration, receiver: Receiver, stores: Stores, time, statuses: Any, verdict: str
) -> None:
    receiver.statuses = list(statuses)
    made = registration(callback_url=receiver.url, destination="here", verify=True)
    stores.registrations.add(made)
    for _ in statuses or [0]:
        turn(delivering)
        time.now += 6 * SECOND
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
    assert (found[1].tested, found[1].state) == (verdict, "watching")
    assert found[0].verify


def test_cancelling_ends_the_test_of_the_callback(
    delivering, turn, registration, receiver: Receiver, stores: Stores, deliveries_of
) -> None:
    made = registration(callback_url=receiver.url, destination="here", verify=True)
    stores.registrations.add(made)
    stores.registrations.cancel("t", made.id)
    assert turn(delivering) == 0
    assert deliveries_of()[0].state is DeliveryState.CANCELLED
