"""How many callbacks a second leave, seen from the receiver's side."""

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

WANTED = 8
WANTED_OF_UNGUARDED = 0.85
SLOW_S = 0.05
MANY = 100
TAIL = 0.05  # left out at either end: workers that start or run dry
TIMEOUT_S = 120.0
TURNS = 3


@dataclass(frozen=True, slots=True)
class Flow:
    """cpu_us: of all workers, for one callback; redis_us: of Redis."""

    callbacks_a_second: float
    cpu_us: float
    redis_us: float


def measure(effort: Effort) -> list[Figure]:
    some = effort.callbacks // TURNS
    baseline, quick, unguarded = _in_turns((Naive, some // 4), (BridgeUnderBench, some), (Unguarded, some))
    slow_baseline = flow(Naive, effort.callbacks // 30, latency_s=SLOW_S)
    slow = flow(BridgeUnderBench, effort.callbacks, latency_s=SLOW_S)
    many = flow(BridgeUnderBench, effort.callbacks, destinations=MANY)
    rates = [
        Figure("callbacks", quick.callbacks_a_second, baseline.callbacks_a_second, "1/s", wanted=WANTED),
        Figure("… each taking 50 ms", slow.callbacks_a_second, slow_baseline.callbacks_a_second, "1/s", wanted=WANTED),
        Figure(f"… to {MANY} destinations", many.callbacks_a_second, baseline.callbacks_a_second, "1/s"),
    ]
    # CPU is all that is short here, and steadier than a rate.
    beside_none = Figure("… beside no guard", quick.cpu_us, unguarded.cpu_us, "μs", WANTED_OF_UNGUARDED, True)
    return [
        *rates,
        Figure("… CPU for a callback", quick.cpu_us, baseline.cpu_us, "μs", less_is_better=True),
        beside_none,
        Figure("… and in Redis", quick.redis_us, baseline.redis_us, "μs", less_is_better=True),
    ]


def _in_turns(*programs: tuple[Build, int]) -> Sequence[Flow]:
    """Each program's at the median of its turns: neighbours come and go."""
    turns = [[flow(build, count) for build, count in programs] for _ in range(TURNS)]
    return [_median(flows) for flows in zip(*turns, strict=True)]


def _median(flows: Sequence[Flow]) -> Flow:
    return Flow(*(statistics.median(getattr(each, field.name) for each in flows) for field in fields(Flow)))


def flow(build: Build, count: int, *, latency_s: float = 0.0, destinations: int = 1) -> Flow:
    with rig(build, latency_s=latency_s, destinations=destinations) as parts:
        parts.program.owe(job_ids(count))
        with parts.workers(DELIVER, DELIVER) as crew:
            first, before = _passing(parts, crew, round(count * TAIL))
            last, after = _passing(parts, crew, round(count * (1 - TAIL)))
            arrivals = sorted(parts.receiver.ask("arrivals"))
    count = last - first
    rate = count / (arrivals[last - 1] - arrivals[first - 1])
    name = parts.program.name
    worker_us, redis_us = ((then - now) / count for now, then in zip(before, after, strict=True))
    progress.print(f"  {name}: {rate:.0f} callbacks/s, {latency_s * 1000:g} ms each, {destinations} destination(s)")
    return Flow(rate, worker_us, redis_us)


def _passing(parts: Rig, crew: Sequence[Process], mark: int) -> tuple[int, tuple[float, float]]:
    """Once `mark` callbacks have arrived: how many have, and the CPU time (μs) that workers and Redis have used."""

    def passed() -> int:
        count: int = parts.receiver.ask("count")
        return count if count >= mark else 0

    arrived = wait_until(passed, timeout=TIMEOUT_S, what=f"{mark} callbacks")
    redis = parts.redis.info("cpu")
    return arrived, (cpu_us(crew), 1e6 * (redis["used_cpu_sys"] + redis["used_cpu_user"]))
