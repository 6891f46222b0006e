"""How many callbacks a second leave, seen from the receiver's side."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.devkit.processes import Process, wait_until
from app.store.agenda import DELIVER
from tests.bench.bridge import Bridge
from tests.bench.figures import Effort, Figure
from tests.bench.harness import Build, Rig, cpu_us, job_ids, progress, rig
from tests.bench.naive import Naive

WANTED = 8
SLOW_S = 0.05
MANY = 100
TAIL = 0.05  # left out at either end: workers that start or run dry
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Flow:
    """cpu_us: of all workers, for one callback."""

    callbacks_a_second: float
    cpu_us: float


def measure(effort: Effort) -> list[Figure]:
    baseline = flow(Naive, effort.callbacks // 4)
    slow_baseline = flow(Naive, effort.callbacks // 30, latency_s=SLOW_S)
    quick = flow(Bridge, effort.callbacks)
    slow = flow(Bridge, effort.callbacks, latency_s=SLOW_S)
    many = flow(Bridge, effort.callbacks, destinations=MANY)
    rates = [
        Figure("callbacks", quick.callbacks_a_second, baseline.callbacks_a_second, "1/s", wanted=WANTED),
        Figure("… each taking 50 ms", slow.callbacks_a_second, slow_baseline.callbacks_a_second, "1/s", wanted=WANTED),
        Figure(f"… to {MANY} destinations", many.callbacks_a_second, baseline.callbacks_a_second, "1/s"),
    ]
    return [*rates, Figure("… CPU for a callback", quick.cpu_us, baseline.cpu_us, "µs", less_is_better=True)]


def flow(build: Build, count: int, *, latency_s: float = 0.0, destinations: int = 1) -> Flow:
    with rig(build, latency_s=latency_s, destinations=destinations) as parts:
        parts.program.owe(job_ids(count))
        with parts.workers(DELIVER, DELIVER) as crew:
            first, cpu_before = _passing(parts, crew, round(count * TAIL))
            last, cpu_after = _passing(parts, crew, round(count * (1 - TAIL)))
            arrivals = sorted(parts.receiver.ask("arrivals"))
    rate = (last - first) / (arrivals[last - 1] - arrivals[first - 1])
    name = parts.program.name
    progress.print(f"  {name}: {rate:.0f} callbacks/s, {latency_s * 1000:g} ms each, {destinations} destination(s)")
    return Flow(rate, (cpu_after - cpu_before) / (last - first))


def _passing(parts: Rig, crew: Sequence[Process], mark: int) -> tuple[int, float]:
    """Once `mark` callbacks have arrived: how many have, and the CPU time that the workers have used."""

    def passed() -> int:
        count: int = parts.receiver.ask("count")
        return count if count >= mark else 0

    return wait_until(passed, timeout=TIMEOUT_S, what=f"{mark} callbacks"), cpu_us(crew)
