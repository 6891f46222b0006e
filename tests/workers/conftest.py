"""Workers in the process of the test: real Redis, real servers, and the test's own time."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.cph.client import CphClient
from app.cph.credentials import FixedToken
from app.domain.cadence import Cadence
from app.domain.event import EventType
from app.domain.job import JobState
from app.runtime import Runtime
from app.transport.client import Transport
from tests.served import Served
from workers.deliver import Delivering
from workers.noting import Noting
from workers.poll import Polling

SECOND = timedelta(seconds=1)


class Time:
    """Stands still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def time(now: datetime) -> Time:
    return Time(now)


@pytest.fixture
def polling(runtime: Runtime, standin: Served, time: Time) -> Iterator[Polling]:
    """Asks the stand-in, every second at first; a job may stay unknown for ten seconds."""
    transport = Transport()
    client = CphClient(
        transport=transport,
        endpoint=standin.about["url"],
        project_id=standin.about["project_id"],
        credentials=FixedToken(standin.about["token"]),
        deadline=timedelta(seconds=2),
    )
    yield Polling(
        agenda=runtime.polls_due,
        watches=runtime.watches,
        requests=runtime.requests,
        clients={"default": client},
        noting=Noting(runtime.polls_due, runtime.rate_of),
        cadence=Cadence(SECOND, 30 * SECOND),
        lost_grace=10 * SECOND,
        clock=time,
        crash_point=lambda _: None,
    )
    transport.close()


@pytest.fixture
def delivering(runtime: Runtime, time: Time) -> Iterator[Delivering]:
    yield Delivering(
        agenda=runtime.deliveries_due,
        deliveries=runtime.deliveries,
        sender=runtime.sender,
        schedule=runtime.schedule,
        deadline=timedelta(seconds=2),
        clock=time,
        crash_point=lambda _: None,
    )
    runtime.sender.close()


@pytest.fixture
def turn(runtime: Runtime, time: Time) -> Callable[[Any], int]:
    """Works off what is due now, on this thread; how much that was."""

    def work_off(work: Any) -> int:
        claimed = work.agenda.claim_due(time(), 100).items
        tasks = work.prepare(claimed) if claimed else ()
        for task in tasks:
            runtime.scripts.run_all(work.do(task))
        return len(tasks)

    return work_off


@pytest.fixture
def watched(runtime: Runtime, registration, deliveries_of) -> Callable[..., Any]:
    """Registers for a job; says how it fares and which events it had."""

    class Watched:
        def __init__(self, job_id: str, **fields: Any) -> None:
            self.job_id = job_id
            self.registration = registration(job_id, **fields)
            runtime.registrations.add(self.registration)

        @property
        def state(self) -> JobState:
            found = runtime.registrations.get("t", self.registration.id)
            assert found is not None
            return found[1].jobs[self.job_id]

        @property
        def events(self) -> list[EventType]:
            return [delivery.type for delivery in deliveries_of()]

    return Watched
