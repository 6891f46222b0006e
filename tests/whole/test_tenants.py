"""What one tenant registers, or points at, delays another's polls and callbacks by no more than the contract says."""

import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from threading import Thread
from time import monotonic
from typing import Any, Self
from uuid import uuid4

import pytest

from app.devkit.client import ApiRefused
from app.devkit.processes import wait_until
from app.domain.ids import created_ms
from app.domain.times import from_ms
from tests.whole.conftest import Deployment
from workers.rq_queues import DRAIN_S

HOSTILE, OTHER = "hostile", "other"
THREADS, HOSTILE_SHARE = 64, 32
CALLBACKS = 5  # in a measurement; one after the other
MEASUREMENTS = 3  # at most. What the machine delays is gone in another one; what the bridge delays is not.
# The defaults, but for the rate of the attack that this was found with.
SETTINGS = {
    "BRIDGE_CPH_RATE": "20",
    "BRIDGE_POLL_MIN_S": "1",
    "BRIDGE_POLL_MAX_S": "30",
    "BRIDGE_LOST_GRACE_S": "60",
    "BRIDGE_LEASE_S": "60",
    "BRIDGE_ATTEMPT_DEADLINE_S": "10",
    "BRIDGE_WORKER_THREADS": str(THREADS),
}


@dataclass(frozen=True)
class Delays:
    """The longest of a measurement, in seconds: from registering to the poll, and from the poll to the callback."""

    poll_s: float
    start_s: float

    def is_fair(self, calm: Self) -> bool:
        print(f"calm {calm.poll_s:.2f} + {calm.start_s:.2f} s, beside {self.poll_s:.2f} + {self.start_s:.2f} s")
        return self.poll_s <= 2 * calm.poll_s + 2 and self.start_s <= calm.start_s + 1


class Silent:
    """A listener that accepts connections and never answers, at every loopback address."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("0.0.0.0", 0), backlog=1_024)
        self._accepted: list[socket.socket] = []
        Thread(target=self._accept, daemon=True).start()

    def urls(self, count: int) -> list[str]:
        """Each is a destination of its own."""
        port = self._listener.getsockname()[1]
        return [f"http://127.1.{number // 250}.{number % 250 + 1}:{port}/hook" for number in range(count)]

    @property
    def calls(self) -> int:
        """How many connections it has accepted."""
        return len(self._accepted)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in (self._listener, *self._accepted):
            connection.close()

    def _accept(self) -> None:
        try:
            while True:
                self._accepted.append(self._listener.accept()[0])
        except OSError:
            return


@pytest.fixture
def silent() -> Iterator[Silent]:
    with closing(Silent()) as silent:
        yield silent


@pytest.fixture
def bridge(deployment: Deployment) -> Deployment:
    """With one worker of each kind, which run and are connected."""
    for kind in ("poll", "deliver"):
        deployment.start_worker(kind, **SETTINGS)
    measure(deployment)
    return deployment


def measure(bridge: Deployment, seconds: float = 0.0) -> Delays:
    """Has another tenant register jobs that have ended: CALLBACKS one after the other, or for so long."""
    tenant, delays, end = bridge.as_tenant(OTHER), list[Delays](), monotonic() + seconds
    while len(delays) < CALLBACKS or monotonic() < end:
        body = {"job_id": bridge.job(), "callback_url": bridge.receiver.url, "deadline_s": 60}
        delays.append(delays_of(bridge, tenant.call("POST", "/v1/registrations", body)))
    return Delays(max(delay.poll_s for delay in delays), max(delay.start_s for delay in delays))


def assert_fair(bridge: Deployment, calm: Delays, seconds: float = 0.0) -> None:
    assert any(measure(bridge, seconds).is_fair(calm) for _ in range(MEASUREMENTS))


def delays_of(bridge: Deployment, registration: dict[str, Any]) -> Delays:
    def first_attempt() -> tuple[datetime, datetime] | None:
        deliveries = bridge.runtime.stores.deliveries
        found, _ = deliveries.page(OTHER, limit=1, cursor=None, since=None, until=None, wanted=lambda _: True)
        if not found or found[0].registration_id != registration["id"]:
            return None
        attempts = deliveries.get(OTHER, found[0].id)[1]
        return (found[0].created_at, from_ms(attempts[0]["started_at"])) if attempts else None

    polled, started = wait_until(first_attempt, what="the other tenant's callback")
    registered = from_ms(created_ms(registration["id"]))
    return Delays((polled - registered).total_seconds(), (started - polled).total_seconds())


def register(bridge: Deployment, bodies: Sequence[dict[str, Any]]) -> None:
    tenant = bridge.as_tenant(HOSTILE)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda body: tenant.call("POST", "/v1/registrations", body), bodies))


def unknown_jobs(count: int) -> list[str]:
    return [uuid4().hex for _ in range(count)]


@pytest.mark.slow
def test_a_tenant_that_registers_thousands_of_jobs_that_do_not_exist(bridge: Deployment) -> None:
    calm = measure(bridge)
    for registrations in (3, 72):
        register(bridge, [{"job_ids": unknown_jobs(1_000)} for _ in range(registrations)])
        assert_fair(bridge, calm)


@pytest.mark.slow
def test_a_tenant_with_destinations_that_never_answer_and_then_with_all_that_it_may_have(
    bridge: Deployment, silent: Silent
) -> None:
    """In the end it has as many destinations and jobs as its quotas allow, and the deadlines of the jobs pass."""
    calm = measure(bridge)
    jobs = [bridge.job() for _ in range(6)]
    for urls in (silent.urls(60), silent.urls(1_000)):
        register(bridge, [{"job_ids": jobs, "callback_url": url} for url in urls])
        wait_until(lambda: silent.calls >= HOSTILE_SHARE, what="as many attempts as the tenant may make at once")
        assert_fair(bridge, calm)
    register(bridge, [{"job_ids": unknown_jobs(1_000), "deadline_s": 30} for _ in range(100)])
    for more in ({}, {"callback_url": silent.urls(1_001)[-1]}):
        with pytest.raises(ApiRefused, match="quota"):
            register(bridge, [{"job_ids": unknown_jobs(1_000)} | more])
    # Longer than a drain: its end must not wait for the attempts that are under way.
    assert_fair(bridge, calm, DRAIN_S + 2)
