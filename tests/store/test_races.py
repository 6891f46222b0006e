"""Register against complete, and cancel against deliver, in a thousand interleavings."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from random import Random
from threading import Barrier

from app.domain.job import Job, JobState
from app.runtime import Runtime

ROUNDS = 1_000


def test_registering_while_a_job_ends_loses_nothing_and_tells_nothing_twice(
    runtime: Runtime, registration, deliveries_of, now: datetime
) -> None:
    random = Random(7)
    barrier = Barrier(3)

    def register(number: int) -> str:
        made = registration(f"job-{number}", at=now + timedelta(seconds=number))
        barrier.wait()
        spin(random.randrange(400))
        runtime.registrations.add(made)
        return str(made.id)

    def complete(number: int) -> None:
        at = now + timedelta(seconds=number)
        (claimed,) = runtime.polls_due.claim_due(at, 1).items
        barrier.wait()
        spin(random.randrange(400))
        runtime.scripts.run(runtime.watches.complete(claimed, Job(claimed.id, JobState.SUCCEEDED), at))

    made = []
    with ThreadPoolExecutor(3) as pool:
        for number in range(ROUNDS):
            first = registration(f"job-{number}", at=now + timedelta(seconds=number))
            runtime.registrations.add(first)
            later = [pool.submit(register, number) for _ in range(2)]
            pool.submit(complete, number).result(30)
            made += [first.id, *(each.result(30) for each in later)]
    told = []
    cursor = None
    while True:
        page, cursor = runtime.deliveries.page(
            "t", limit=200, cursor=cursor, since=None, until=None, wanted=lambda _: True
        )
        told += [delivery.registration_id for delivery in page]
        if cursor is None:
            break
    assert sorted(told) == sorted(made)


def spin(turns: int) -> None:
    """A little while, without giving up the processor."""
    for _ in range(turns):
        pass
