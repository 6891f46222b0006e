"""Measures callbacks a second, as the receiver counts them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields

from app.devkit.processes import Process, wait_until
from app.store.agenda import DELIVER
from tests.bench.bridge import BridgeUnderBench
from tests.bench.figures import Effort, Figure
from tests.bench.harness import Build, Rig, cpu_us, job_ids, progress, rig
from tests.bench.naive import Naive
from tests.bench.unguarded import Unguarded

TARGET = 8
TARGET_AGAINST_UNGUARDED = 0.85
SLOW_S = 0.05
MANY = 100
TAIL = 0.05  # the share ignored at each end, while workers start or run out of work
TIMEOUT_S = 120.0
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Flow:
    """cpu_us: CPU time of all workers per callback. redis_us: CPU time of Redis per callback."""

    callbacks_a_second: float
    cpu_us: float
    redis_us: float


def measure(effort: Effort) -> list[Figure]:
    count = effort.callbacks // ROUNDS
    baseline, quick, unguarded = _in_rounds((Naive, count // 4), (BridgeUnderBench, count), (Unguarded, count))
    slow_baseline = flow(Naive, effort.callbacks // 30, latency_s=SLOW_S)
    slow = flow(BridgeUnderBench, effort.callbacks, latency_s=SLOW_S)
    many = flow(BridgeUnderBench, effort.callbacks, destinations=MANY)
    rates = [
        Figure("callbacks", quick.callbacks_a_second, baseline.callbacks_a_second, "1/s", wanted=TARGET),
        Figure("… each taking 50 ms", slow.callbacks_a_second, slow_baseline.callbacks_a_second, "1/s", wanted=TARGET),
        Figure(f"… to {MANY} destinations", many.callbacks_a_second, baseline.callbacks_a_second, "1/s"),
    ]
    # CPU is the bottleneck here, and its figures vary less than rates.
    against_unguarded = Figure(
        "… against no address guard", quick.cpu_us, unguarded.cpu_us, "μs", TARGET_AGAINST_UNGUARDED, True
    )
    return [
        *rates,
        Figure("… CPU for a callback", quick.cpu_us, baseline.cpu_us, "μs", less_is_better=True),
        against_unguarded,
        Figure("… and in Redis", quick.redis_us, baseline.redis_us, "μs", less_is_better=True),
    ]


def _in_rounds(*programs: tuple[Build, int]) -> Sequence[Flow]:
    """The median of each program over rounds, as other load on the machine varies."""
    rounds = [[flow(build, count) for build, count in programs] for _ in range(ROUNDS)]
    return [_median(flows) for flows in zip(*rounds, strict=True)]


def _median(flows: Sequence[Flow]) -> Flow:
    return Flow(*(statistics.median(getattr(each, field.name) for each in flows) for field in fields(Flow)))


def flow(build: Build, count: int, *, latency_s: float = 0.0, destinations: int = 1) -> Flow:
    with rig(build, latency_s=latency_s, destinations=destinations) as parts:
        parts.program.create_deliveries(job_ids(count))
        with parts.workers(DELIVER, DELIVER) as pool:
            first, before = _wait_for_count(parts, pool, round(count * TAIL))
            last, after = _wait_for_count(parts, pool, round(count * (1 - TAIL)))
            arrivals = sorted(parts.receiver.query("arrivals"))
    count = last - first
    rate = count / (arrivals[last - 1] - arrivals[first - 1])
    name = parts.program.name
    worker_us, redis_us = (
        (used_after - used_before) / count for used_before, used_after in zip(before, after, strict=True)
    )
    progress.print(f"  {name}: {rate:.0f} callbacks/s, {latency_s * 1000:g} ms each, {destinations} destination(s)")
    return Flow(rate, worker_us, redis_us)


def _wait_for_count(parts: Rig, pool: Sequence[Process], minimum: int) -> tuple[int, tuple[float, float]]:
    """Waits for `minimum` callbacks. Returns their number, and the CPU time (μs) used by workers and by Redis."""

    def passed() -> int:
        count: int = parts.receiver.query("count")
        return count if count >= minimum else 0

    arrived = wait_until(passed, timeout=TIMEOUT_S, what=f"{minimum} callbacks")
    redis = parts.redis.info("cpu")
    return arrived, (cpu_us(pool), 1e6 * (redis["used_cpu_sys"] + redis["used_cpu_user"]))
