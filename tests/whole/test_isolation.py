"""One slow destination beside a hundred fast ones, with real workers."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.devkit.processes import start, wait_until
from app.domain.job import Job, JobState
from app.domain.times import to_ms

FAST_DESTINATIONS, SLOW_S = 100, 10.0
CALLBACKS, INTERVAL_S = 1_500, 0.01
BACKLOG = 10_000
# On a busy machine, one process more or less changes latencies by this much.
NOISE_MS = 50


@pytest.fixture
def destination_urls() -> Iterator[dict[str, list[str]]]:
    """URLs of receivers that answer at once (`fast`), and of one that takes SLOW_S (`slow`)."""
    with ExitStack() as stack:

        def serve(latency_s: float, ports: int) -> list[str]:
            command = [sys.executable, "-m", "tests.bench.servers", "receiver", str(latency_s), str(ports)]
            found: list[str] = stack.enter_context(start(command)).announcement()["urls"]
            return found

        yield {"fast": serve(0.0, FAST_DESTINATIONS), "slow": serve(SLOW_S, 1)}


@pytest.fixture
def runtime(deployment: Any) -> Iterator[Runtime]:
    runtime = Runtime(load({"BRIDGE_REDIS_URL": deployment.bridge.redis.url}))
    yield runtime
    runtime.stores.redis.close()


@pytest.mark.slow
@pytest.mark.one_by_one
def test_a_sick_destination_costs_the_others_nothing(
    deployment, runtime: Runtime, registration, destination_urls
) -> None:
    numbers = iter(range(1_000_000))

    def create_deliveries(tenant: str, url: str, count: int) -> None:
        jobs = tuple(Job(f"{next(numbers)}", JobState.SUCCEEDED) for _ in range(count))
        fields = {"tenant": tenant, "destination": url, "callback_url": f"{url}/hooks", "job_ids": (), "ended": jobs}
        runtime.stores.registrations.add(registration(at=runtime.stores.clock(), **fields))

    def latencies(tenant: str, count: int = CALLBACKS) -> list[int]:
        """Creates a delivery every INTERVAL_S. Returns the sorted latencies in milliseconds."""
        for number in range(count):
            create_deliveries(tenant, destination_urls["fast"][number % FAST_DESTINATIONS], 1)
            time.sleep(INTERVAL_S)  # the rate of the measured callbacks
        found_latencies: list[int] = []

        def arrived() -> bool:
            found, _ = runtime.stores.deliveries.page(
                tenant, limit=2_000, cursor=None, since=None, until=None, wanted=lambda delivery: True
            )
            lines = [runtime.stores.deliveries.get(tenant, delivery.id)[1] for delivery in found]
            found_latencies[:] = [
                line[0]["started_at"] + line[0]["took_ms"] - to_ms(delivery.created_at)
                for delivery, line in zip(found, lines, strict=True)
                if line
            ]
            return len(found_latencies) == count

        wait_until(arrived, what="all callbacks to fast destinations")
        return sorted(found_latencies)

    settings = {"BRIDGE_ATTEMPT_DEADLINE_S": "12", "BRIDGE_LEASE_S": "20", "BRIDGE_WORKER_THREADS": "32"}
    for _ in range(2):
        deployment.start_worker("deliver", **settings)
    latencies("warm", count=2 * FAST_DESTINATIONS)  # until the workers run and are connected
    alone = latencies("alone")
    for _ in range(BACKLOG // 1_000):
        create_deliveries("slow", destination_urls["slow"][0], 1_000)
    beside = latencies("beside")
    (slow,), _ = runtime.destinations.page("slow", limit=10, cursor=None)
    assert slow.deliveries > BACKLOG - 100
    assert slow.concurrency < runtime.settings.destination_concurrency
    p99 = CALLBACKS * 99 // 100
    print(f"p50, p99 alone {alone[CALLBACKS // 2]}, {alone[p99]} ms; beside {beside[CALLBACKS // 2]}, {beside[p99]} ms")
    assert beside[p99] <= 2 * max(alone[p99], NOISE_MS)
