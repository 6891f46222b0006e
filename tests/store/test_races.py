"""Races of register with complete, and of cancel with deliver and redeliver, in a thousand interleavings."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from random import Random
from threading import Barrier

import pytest

from app.bootstrap.stores import Stores
from app.domain.delivery import Death, DeliveryState, NextStep
from app.domain.job import Job, JobState
from app.domain.registration import Registration
from app.domain.times import from_ms
from app.domain.verdict import Verdict
from app.store.engine import keys
from tests.support.claims import claim_due

ROUNDS = 1_000
LONG = timedelta(seconds=30)
DELIVERED = NextStep(DeliveryState.DELIVERED)
DEAD = NextStep(DeliveryState.DEAD, death=Death.GONE)


def test_registering_while_a_job_ends_loses_nothing_and_notifies_nobody_twice(
    stores: Stores, registration, deliveries_of, now: datetime
) -> None:
    random = Random(7)
    barrier = Barrier(3)

    def register(number: int) -> str:
        made = registration(f"job-{number}", at=now + timedelta(seconds=number))
        barrier.wait()
        spin(random.randrange(400))
        stores.registrations.add(made)
        return str(made.id)

    def complete(number: int) -> None:
        at = now + timedelta(seconds=number)
        (claimed,) = claim_due(stores.polls_due, at, 1)
        barrier.wait()
        spin(random.randrange(400))
        stores.scripts.run(stores.watches.complete(claimed, Job(claimed.id, JobState.SUCCEEDED), at))

    made = []
    with ThreadPoolExecutor(3) as pool:
        for number in range(ROUNDS):
            first = registration(f"job-{number}", at=now + timedelta(seconds=number))
            stores.registrations.add(first)
            later = [pool.submit(register, number) for _ in range(2)]
            pool.submit(complete, number).result(30)
            made += [first.id, *(each.result(30) for each in later)]
    notified = []
    cursor = None
    while True:
        page, cursor = stores.deliveries.page(
            "t", limit=200, cursor=cursor, since=None, until=None, wanted=lambda _: True
        )
        notified += [delivery.registration_id for delivery in page]
        if cursor is None:
            break
    assert sorted(notified) == sorted(made)


def spin(iterations: int) -> None:
    """Delays briefly, without giving up the processor."""
    for _ in range(iterations):
        pass


@pytest.mark.slow
def test_cancelling_while_an_attempt_begins_never_lets_one_start_unseen(stores: Stores, registration, now) -> None:
    """The cancel saw the permit, or the attempt was over, or it did not begin. The counts are right each time."""
    random = Random(11)
    barrier = Barrier(2)
    outcomes = Counter()

    def attempt(at: datetime) -> bool:
        claimed = claim_due(stores.deliveries_due, at, 1)
        barrier.wait()
        spin(random.randrange(400))
        for begun in stores.deliveries.begin(claimed, at + LONG):
            spin(random.randrange(4_000))
            stores.scripts.run(stores.deliveries.record(begun.claimed, Verdict.DELIVERED, DELIVERED, {"number": 1}))
            return True
        return False

    with ThreadPoolExecutor(1) as pool:
        for number in range(ROUNDS):
            at = now + timedelta(seconds=number)
            made = add_ended(stores, registration(f"job-{number}", at=at), at)
            attempted = pool.submit(attempt, at)
            barrier.wait()
            spin(random.randrange(4_000))
            until = stores.registrations.cancel("t", made.id)
            state_at_cancel = stores.redis.hget(keys.progress(made.id), "delivered")
            began = attempted.result(30)
            assert until in (from_ms(0), at + LONG)
            seen, over = until == at + LONG, until == from_ms(0) and state_at_cancel == "1"
            assert began is (seen or over), number
            progress = stores.registrations.get("t", made.id)[1]
            assert (progress.pending, progress.delivered) == (0, int(began)), number
            outcomes["seen" if seen else "over" if over else "not begun"] += 1
    assert min(outcomes[each] for each in ("seen", "not begun")) > 10, outcomes


@pytest.mark.slow
def test_cancelling_while_a_redelivery_is_asked_for_sends_nothing_afterwards(stores: Stores, registration, now) -> None:
    random = Random(13)
    barrier = Barrier(2)
    redelivered = 0

    def redeliver(id: str, at: datetime) -> DeliveryState | None:
        barrier.wait()
        spin(random.randrange(4_000))
        return stores.deliveries.redeliver("t", id, at)

    with ThreadPoolExecutor(1) as pool:
        for number in range(ROUNDS):
            at = now + timedelta(seconds=number)
            made = add_ended(stores, registration(f"job-{number}", at=at), at)
            (begun,) = stores.deliveries.begin(claim_due(stores.deliveries_due, at, 1), at + LONG)
            stores.scripts.run(stores.deliveries.record(begun.claimed, Verdict.GONE, DEAD, {"number": 1}))
            redelivery = pool.submit(redeliver, begun.claimed.id, at)
            barrier.wait()
            spin(random.randrange(4_000))
            stores.registrations.cancel("t", made.id)
            redelivered += redelivery.result(30) is DeliveryState.PENDING
            assert not stores.deliveries.begin(claim_due(stores.deliveries_due, at, 1), at + LONG)
            progress = stores.registrations.get("t", made.id)[1]
            assert progress.pending == 0, number
    assert 10 < redelivered < ROUNDS - 10


def add_ended(stores: Stores, made: Registration, at: datetime) -> Registration:
    """Adds a registration and ends its job: its delivery is due."""
    stores.registrations.add(made)
    (claimed,) = claim_due(stores.polls_due, at, 1)
    stores.scripts.run(stores.watches.complete(claimed, Job(claimed.id, JobState.SUCCEEDED), at))
    return made
