"""One destination that is sick beside a hundred that are not, through real workers."""

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

WELL, SICK_S = 100, 10.0
CALLBACKS, EVERY_S = 1_500, 0.01
OWED = 10_000
# What one process more or less does to the figures of a busy machine.
NOISE_MS = 50


@pytest.fixture
def urls() -> Iterator[dict[str, list[str]]]:
    """Of receivers that answer at once, and of one that takes its time."""
    with ExitStack() as stack:

        def serve(latency_s: float, ports: int) -> list[str]:
            command = [sys.executable, "-m", "tests.bench.servers", "receiver", str(latency_s), str(ports)]
            found: list[str] = stack.enter_context(start(command)).announcement()["urls"]
            return found

        yield {"well": serve(0.0, WELL), "sick": serve(SICK_S, 1)}


@pytest.fixture
def runtime(whole: Any) -> Iterator[Runtime]:
    runtime = Runtime(load({"BRIDGE_REDIS_URL": whole.bridge.redis.url}))
    yield runtime
    runtime.stores.redis.close()


@pytest.mark.slow
def test_a_sick_destination_costs_the_others_nothing(whole, runtime: Runtime, registration, urls) -> None:
    numbers = iter(range(1_000_000))

    def owe(tenant: str, url: str, count: int) -> None:
        jobs = tuple(Job(f"{next(numbers)}", JobState.SUCCEEDED) for _ in range(count))
        fields = {"tenant": tenant, "destination": url, "callback_url": f"{url}/hooks", "job_ids": (), "ended": jobs}
        runtime.stores.registrations.add(registration(at=runtime.stores.clock(), **fields))

    def latencies(tenant: str, count: int = CALLBACKS) -> list[int]:
        """Of a callback each 10 ms (ms)."""
        for number in range(count):
            owe(tenant, urls["well"][number % WELL], 1)
            time.sleep(EVERY_S)  # the pace of what is measured
        seen: list[int] = []

        def arrived() -> bool:
            found, _ = runtime.stores.deliveries.page(
                tenant, limit=2_000, cursor=None, since=None, until=None, wanted=lambda delivery: True
            )
            lines = [runtime.stores.deliveries.get(tenant, delivery.id)[1] for delivery in found]
            seen[:] = [
                line[0]["started_at"] + line[0]["took_ms"] - to_ms(delivery.created_at)
                for delivery, line in zip(found, lines, strict=True)
                if line
            ]
            return len(seen) == count

        wait_until(arrived, what="all callbacks to those that are well")
        return sorted(seen)

    settings = {"BRIDGE_ATTEMPT_DEADLINE_S": "12", "BRIDGE_LEASE_S": "20", "BRIDGE_WORKER_THREADS": "32"}
    for _ in range(2):
        whole.start_worker("deliver", **settings)
    latencies("warm", count=2 * WELL)  # until the workers are at it, and connected
    alone = latencies("alone")
    for _ in range(OWED // 1_000):
        owe("sick", urls["sick"][0], 1_000)
    beside = latencies("beside")
    (sick,), _ = runtime.destinations.page("sick", limit=10, cursor=None)
    assert sick.deliveries > OWED - 100
    assert sick.concurrency < runtime.settings.destination_concurrency
    p99 = CALLBACKS * 99 // 100
    print(f"p50, p99 alone {alone[CALLBACKS // 2]}, {alone[p99]} ms; beside {beside[CALLBACKS // 2]}, {beside[p99]} ms")
    assert beside[p99] <= 2 * max(alone[p99], NOISE_MS)
