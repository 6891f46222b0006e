"""Fixtures that run workers in the process of the test: real Redis, real servers, a manual clock."""

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
from app.domain.registration import Registration
from app.store.durations import SeenDurations
from app.transport.client import Transport
from tests.support.claims import claim_due, mark_answered
from tests.support.manual_clock import ManualClock
from tests.support.receiver import Receiver
from tests.support.scripted_cloud import ScriptedCloud, running_cloud
from tests.support.served import Served
from workers.delivery.deliver import DeliveryWorker
from workers.polling.project_health import HealthRecorder
from workers.polling.schedule import PollSchedule
from workers.polling.show_job import PollWorker
from workers.telemetry import Telemetry

SECOND = timedelta(seconds=1)
# The bridge lowers the concurrency when answers take half of a deadline: a busy test machine must not cause that.
LONG_DEADLINE = timedelta(seconds=PATIENCE_S)


@pytest.fixture
def clock(now: datetime) -> ManualClock:
    return ManualClock(now)


@pytest.fixture
def tracing() -> Any:
    """Tracing is off by default; a nearer fixture may turn it on."""
    return None


@pytest.fixture
def telemetry(runtime: Runtime, tracing: Any) -> Telemetry:
    return Telemetry(runtime.metric_registry, tracing)


@pytest.fixture
def lost_grace() -> timedelta:
    """A job is lost after it was unknown for so long."""
    return 10 * SECOND


@pytest.fixture
def poll_worker(
    runtime: Runtime, standin: Served, clock: ManualClock, telemetry: Telemetry, lost_grace: timedelta
) -> Iterator[PollWorker]:
    """Polls the stand-in, at first once a second."""
    transport = Transport()
    client = CphClient(
        transport=transport,
        endpoint=standin.about["url"],
        project_id=standin.about["project_id"],
        credentials=FixedToken(standin.about["token"]),
        deadline=LONG_DEADLINE,
    )
    yield PollWorker(
        agenda=runtime.stores.polls_due,
        watches=runtime.stores.watches,
        requests=runtime.stores.requests,
        clients={"default": client},
        health=HealthRecorder(runtime.stores.polls_due, runtime.config.rate_of, telemetry),
        schedule=PollSchedule(
            Cadence(SECOND, 30 * SECOND), SeenDurations(runtime.stores.redis, clock, retention=30 * SECOND)
        ),
        lost_grace=lost_grace,
        telemetry=telemetry,
        clock=clock,
        crash_point=lambda _: None,
    )
    transport.close()


@pytest.fixture
def cloud(poll_worker: PollWorker) -> Iterator[ScriptedCloud]:
    """A scripted CPH in place of the stand-in."""
    transport = Transport()
    with running_cloud() as cloud:
        client = CphClient(
            transport=transport,
            endpoint=cloud.url,
            project_id="p",
            credentials=FixedToken("the-token-of-this-test"),
            deadline=LONG_DEADLINE,
        )
        poll_worker._clients["default"] = client
        yield cloud
    transport.close()


@pytest.fixture
def deadline() -> timedelta:
    """The deadline of an attempt. A test that waits for a timeout sets a shorter one with parametrize."""
    return LONG_DEADLINE


@pytest.fixture
def delivery_worker(
    runtime: Runtime, clock: ManualClock, telemetry: Telemetry, deadline: timedelta
) -> Iterator[DeliveryWorker]:
    yield DeliveryWorker(
        agenda=runtime.stores.deliveries_due,
        deliveries=runtime.stores.deliveries,
        gone_urls=runtime.stores.gone_urls,
        destinations=runtime.destinations,
        format_catalog=runtime.config.format_catalog,
        client=runtime.callback_client,
        schedules=runtime.schedules,
        deadline=deadline,
        telemetry=telemetry,
        clock=clock,
        crash_point=lambda _: None,
    )
    runtime.sender.close()


@pytest.fixture
def run_due(stores: Stores, clock: ManualClock) -> Callable[[Any], int]:
    """Runs the due tasks of a worker once, on this thread. Returns their number."""

    def run(worker: Any) -> int:
        claimed = claim_due(worker.agenda, clock(), 100)
        tasks = worker.prepare(claimed) if claimed else ()
        for task in tasks:
            stores.scripts.run_all(worker.do(task))
        return len(tasks)

    return run


@pytest.fixture
def new_calls(standin: Served) -> Callable[[], tuple[int, int]]:
    """Returns the numbers of ShowJob and ListJobs calls since it was last called."""
    last = {"show_job": 0, "list_jobs": 0}

    def count() -> tuple[int, int]:
        nonlocal last
        before, last = last, standin.call("GET", "/_standin/calls").json()
        return last["show_job"] - before["show_job"], last["list_jobs"] - before["list_jobs"]

    count()
    return count


@pytest.fixture
def make_watched_job(stores: Stores, registration, deliveries_of) -> Callable[..., Any]:
    """Registers for a job. The result shows the job's state, and all events so far."""

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
def make_ended_registration(stores: Stores, registration, receiver: Receiver) -> Callable[..., Any]:
    """Makes a registration whose jobs have ended: its deliveries are due."""

    def make(*job_ids: str, **fields: Any) -> Any:
        made = registration(*job_ids, **{"callback_url": receiver.url, "destination": "here"} | fields)
        stores.registrations.add(made)
        for item in claim_due(stores.polls_due, made.created_at, 100):
            job = Job(item.id, JobState.SUCCEEDED, status=2, phone_id="手机")
            stores.scripts.run(stores.watches.complete(item, job, made.created_at))
        return made

    return make


@pytest.fixture
def make_pending_deliveries(
    stores: Stores, registration, receiver: Receiver, clock: ManualClock
) -> Callable[..., None]:
    """Makes `count` deliveries that are due now, to a destination that has answered before."""

    def make(count: int, *, tenant: str = "t", destination: str = "here", url: str = receiver.url) -> None:
        jobs = tuple(Job(f"{destination}-{number:04d}", JobState.SUCCEEDED) for number in range(count))
        fields = {"tenant": tenant, "destination": destination, "callback_url": url, "job_ids": (), "ended": jobs}
        stores.registrations.add(registration(at=clock.now, **fields))
        mark_answered(stores.redis)

    return make


@pytest.fixture
def delivery_log(stores: Stores, deliveries_of) -> Callable[[], tuple[DeliveryState, list[dict[str, Any]]]]:
    """Reads the state and the attempts of the only delivery."""

    def read() -> tuple[DeliveryState, list[dict[str, Any]]]:
        (delivery,) = deliveries_of()
        found = stores.deliveries.get("t", delivery.id)
        assert found is not None
        return found[0].state, found[1]

    return read


@pytest.fixture
def delivery_states(stores: Stores) -> Callable[..., list[DeliveryState]]:
    def read(tenant: str = "t") -> list[DeliveryState]:
        found, _ = stores.deliveries.page(
            tenant, limit=2_000, cursor=None, since=None, until=None, wanted=lambda _: True
        )
        return [delivery.state for delivery in found]

    return read


@pytest.fixture
def shown_destination(runtime: Runtime) -> Callable[..., Destination]:
    """Reads the only destination of a tenant."""

    def read(tenant: str = "t") -> Destination:
        (found,), _ = runtime.destinations.page(tenant, limit=10, cursor=None)
        return found

    return read


@pytest.fixture
def request_id() -> str:
    """A request id that the stand-in does not know."""
    return uuid4().hex


@pytest.fixture
def poll_rounds(poll_worker: PollWorker, run_due: Callable[[Any], int], clock: ManualClock) -> Callable[[float], None]:
    """Advances the clock in steps of a second, and runs the due polls before each step."""

    def run(seconds: float) -> None:
        for _ in range(round(seconds)):
            while run_due(poll_worker):
                pass
            clock.now += SECOND

    return run


@pytest.fixture
def make_request_registration(stores: Stores, registration) -> Callable[..., Registration]:
    """Registers for all jobs of a request."""

    def register(request_id: str, **fields: Any) -> Registration:
        made = registration("none", **{"job_ids": (), "request_id": request_id} | fields)
        stores.registrations.add(made)
        return made

    return register
