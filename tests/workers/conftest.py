"""Workers in the process of the test: real Redis, real servers, and the test's own time."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.cph.client import CphClient
from app.cph.credentials import FixedToken
from app.devkit.processes import PATIENCE_S
from app.domain.cadence import Cadence
from app.domain.delivery import DeliveryState
from app.domain.destination import Destination
from app.domain.event import EventType
from app.domain.job import Job, JobState
from app.store.durations import SeenDurations
from app.transport.client import Transport
from tests.support.claims import claim_due
from tests.support.manual_clock import ManualClock
from tests.support.receiver import Receiver
from tests.support.served import Served
from workers.delivery.deliver import DeliveryWorker
from workers.polling.project_health import HealthRecorder
from workers.polling.schedule import PollSchedule
from workers.polling.show_job import PollWorker
from workers.telemetry import Telemetry

SECOND = timedelta(seconds=1)
# Half of a deadline is slow to the bridge, which then sends less: a busy machine must not look like that.
AMPLE = timedelta(seconds=PATIENCE_S)


@pytest.fixture
def time(now: datetime) -> ManualClock:
    return ManualClock(now)


@pytest.fixture
def tracing() -> Any:
    """Off, as it is at first."""
    return None


@pytest.fixture
def polling(runtime: Runtime, standin: Served, time: ManualClock, tracing: Any) -> Iterator[PollWorker]:
    """Asks the stand-in, every second at first; a job may stay unknown for ten seconds."""
    transport = Transport()
    client = CphClient(
        transport=transport,
        endpoint=standin.about["url"],
        project_id=standin.about["project_id"],
        credentials=FixedToken(standin.about["token"]),
        deadline=AMPLE,
    )
    yield PollWorker(
        agenda=runtime.stores.polls_due,
        watches=runtime.stores.watches,
        requests=runtime.stores.requests,
        clients={"default": client},
        health=HealthRecorder(runtime.stores.polls_due, runtime.config.rate_of),
        schedule=PollSchedule(
            Cadence(SECOND, 30 * SECOND), SeenDurations(runtime.stores.redis, time, retention=30 * SECOND)
        ),
        lost_grace=10 * SECOND,
        telemetry=Telemetry(runtime.metric_registry, tracing),
        clock=time,
        crash_point=lambda _: None,
    )
    transport.close()


@pytest.fixture
def deadline() -> timedelta:
    """Of an attempt. A test that waits for it to pass says a shorter one, by parametrize."""
    return AMPLE


@pytest.fixture
def delivering(runtime: Runtime, time: ManualClock, tracing: Any, deadline: timedelta) -> Iterator[DeliveryWorker]:
    yield DeliveryWorker(
        agenda=runtime.stores.deliveries_due,
        deliveries=runtime.stores.deliveries,
        gone_urls=runtime.stores.gone_urls,
        destinations=runtime.destinations,
        format_catalog=runtime.config.format_catalog,
        client=runtime.callback_client,
        schedules=runtime.schedules,
        deadline=deadline,
        telemetry=Telemetry(runtime.metric_registry, tracing),
        clock=time,
        crash_point=lambda _: None,
    )
    runtime.sender.close()


@pytest.fixture
def turn(stores: Stores, time: ManualClock) -> Callable[[Any], int]:
    """Works off what is due now, on this thread; how much that was."""

    def work_off(work: Any) -> int:
        claimed = claim_due(work.agenda, time(), 100)
        tasks = work.prepare(claimed) if claimed else ()
        for task in tasks:
            stores.scripts.run_all(work.do(task))
        return len(tasks)

    return work_off


@pytest.fixture
def calls(standin: Served) -> Callable[[], tuple[int, int]]:
    """How many ShowJob and ListJobs there were since the last look."""
    last = {"show_job": 0, "list_jobs": 0}

    def since() -> tuple[int, int]:
        nonlocal last
        before, last = last, standin.call("GET", "/_standin/calls").json()
        return last["show_job"] - before["show_job"], last["list_jobs"] - before["list_jobs"]

    since()
    return since


@pytest.fixture
def watched(stores: Stores, registration, deliveries_of) -> Callable[..., Any]:
    """Registers for a job; says how it fares and which events it had."""

    class RegisteredJob:
        def __init__(self, job_id: str, **fields: Any) -> None:
            self.job_id = job_id
            self.registration = registration(job_id, **fields)
            stores.registrations.add(self.registration)

        @property
        def state(self) -> JobState:
            found = stores.registrations.get("t", self.registration.id)
            assert found is not None
            return found[1].jobs[self.job_id]

        @property
        def events(self) -> list[EventType]:
            return [delivery.type for delivery in deliveries_of()]

    return RegisteredJob


@pytest.fixture
def ended(stores: Stores, registration, receiver: Receiver) -> Callable[..., Any]:
    """A registration whose job has ended: its delivery is due."""

    def make(*job_ids: str, **fields: Any) -> Any:
        made = registration(*job_ids, **{"callback_url": receiver.url, "destination": "here"} | fields)
        stores.registrations.add(made)
        for item in claim_due(stores.polls_due, made.created_at, 100):
            job = Job(item.id, JobState.SUCCEEDED, status=2, phone_id="手机")
            stores.scripts.run(stores.watches.complete(item, job, made.created_at))
        return made

    return make


@pytest.fixture
def owe(stores: Stores, registration, receiver: Receiver, time) -> Callable[..., None]:
    """So many deliveries are due."""

    def make(count: int, *, tenant: str = "t", destination: str = "here", url: str = receiver.url) -> None:
        jobs = tuple(Job(f"{destination}-{number:04d}", JobState.SUCCEEDED) for number in range(count))
        fields = {"tenant": tenant, "destination": destination, "callback_url": url, "job_ids": (), "ended": jobs}
        stores.registrations.add(registration(at=time.now, **fields))

    return make


@pytest.fixture
def log_of(stores: Stores, deliveries_of) -> Callable[[], tuple[DeliveryState, list[dict[str, Any]]]]:
    def read() -> tuple[DeliveryState, list[dict[str, Any]]]:
        (delivery,) = deliveries_of()
        found = stores.deliveries.get("t", delivery.id)
        assert found is not None
        return found[0].state, found[1]

    return read


@pytest.fixture
def states(stores: Stores) -> Callable[..., list[DeliveryState]]:
    def read(tenant: str = "t") -> list[DeliveryState]:
        found, _ = stores.deliveries.page(
            tenant, limit=2_000, cursor=None, since=None, until=None, wanted=lambda _: True
        )
        return [delivery.state for delivery in found]

    return read


@pytest.fixture
def look(runtime: Runtime) -> Callable[..., Destination]:
    """At the only destination of a tenant."""

    def read(tenant: str = "t") -> Destination:
        (found,), _ = runtime.destinations.page(tenant, limit=10, cursor=None)
        return found

    return read


@pytest.fixture
def request_id() -> str:
    """One that the stand-in does not know."""
    return uuid4().hex


@pytest.fixture
def looks(runtime: Runtime, polling, turn, time):
    """Lets time pass in steps of a second, working off what is due."""

    def look(seconds: float) -> None:
        for _ in range(round(seconds)):
            while turn(polling):
                pass
            time.now += SECOND

    return look


@pytest.fixture
def wanted(stores: Stores, registration):
    """Registers for all jobs of a request."""

    def register(request_id: str, **fields):
        made = registration("none", **{"job_ids": (), "request_id": request_id} | fields)
        stores.registrations.add(made)
        return made

    return register
