"""How many jobs can be watched at one poll a second each, seen from CPH's side."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.devkit.processes import wait_until
from app.runtime import POLL
from tests.bench.bridge import Bridge
from tests.bench.figures import Effort, Figure
from tests.bench.harness import INTERVAL_S, Build, Rig, cpu_us, job_ids, progress, rig
from tests.bench.naive import Naive
from tests.bench.servers import JOBS_A_REQUEST

LATENESS_S = 2.0  # the 99th percentile stays below
WANTED = 8
FIRST_BRIDGE, FIRST_NAIVE = 1_000, 100  # where the search begins
STEPS = 10  # in which the jobs are given to the program, so that they fall due spread over a second
FIRST_LOOK_S = 30
SETTLE_S = LATENESS_S + INTERVAL_S  # one gap that is just not too long


@dataclass(frozen=True, slots=True)
class Trial:
    """lateness_s: the 99th percentile. cpu_us: of all workers, for one poll."""

    jobs: int
    lateness_s: float
    polls_a_second: float
    cpu_us: float

    @property
    def holds(self) -> bool:
        return self.lateness_s < LATENESS_S


def measure(effort: Effort) -> list[Figure]:
    naive = largest(lambda jobs: trial(Naive, jobs, effort.window_s), FIRST_NAIVE, effort.precision)
    bridge = largest(lambda jobs: trial(Bridge, jobs, effort.window_s), FIRST_BRIDGE, effort.precision)
    return [
        Figure("jobs watched, a poll a second", bridge.jobs, naive.jobs, "jobs", wanted=WANTED),
        Figure("… polls at that number", bridge.polls_a_second, naive.polls_a_second, "1/s"),
        Figure("… CPU for a poll", bridge.cpu_us, naive.cpu_us, "µs", less_is_better=True),
    ]


def largest(attempt: Callable[[int], Trial], first: int, precision: float) -> Trial:
    """The largest trial that holds, to within the factor `precision`: doubled or halved, then closed in on."""
    held, failed = None, math.inf
    jobs = first
    while held is None or failed > max(held.jobs * precision, held.jobs + 1):
        latest = attempt(jobs)
        if latest.holds:
            held = latest
        else:
            failed = jobs
        if held:
            jobs = 2 * held.jobs if failed == math.inf else math.ceil(math.sqrt(held.jobs * failed))
        elif jobs > 1:
            jobs //= 2
        else:
            raise RuntimeError("not even one job is polled in time")
    return held


def trial(build: Build, jobs: int, window_s: float, *, cph: str = "cph") -> Trial:
    """cph: `listing` for one whose jobs can be asked for by request, then lateness is that of requests."""
    with rig(build, cph=cph) as parts, parts.workers(POLL, POLL) as crew:
        ids = job_ids(jobs)
        _watch(parts, ids)
        cpu_before, began = cpu_us(crew), time.monotonic()
        time.sleep(window_s)
        cpu_used, ended = cpu_us(crew) - cpu_before, time.monotonic()
        asked: Mapping[str, Sequence[float]] = parts.cph.ask("asked")
        name = parts.program.name
    if cph == "listing":
        ids = job_ids(jobs // JOBS_A_REQUEST)
    lateness = sorted(late for id in ids for late in _lateness(asked.get(id, ()), began, ended))
    polls = sum(began <= at <= ended for times in asked.values() for at in times) * jobs // len(ids)
    result = Trial(jobs, lateness[len(lateness) * 99 // 100], polls / (ended - began), cpu_used / max(1, polls))
    progress.print(
        f"  {name}: {jobs} jobs, 99 % at most {result.lateness_s:.2f} s late, {result.polls_a_second:.0f} polls/s"
    )
    return result


def _watch(parts: Rig, ids: Sequence[str]) -> None:
    """Returns when the workers are at it."""
    parts.program.watch(ids[:1])
    wait_until(lambda: parts.cph.ask(f"asked/{ids[0]}"), timeout=FIRST_LOOK_S, what="the first poll")
    for step in range(STEPS):
        parts.program.watch(ids[1 + step :: STEPS])
        time.sleep(INTERVAL_S / STEPS)
    time.sleep(SETTLE_S)


def _lateness(times: Sequence[float], began: float, ended: float) -> Iterator[float]:
    """Of each poll of one job within the window, and of the one that is overdue at its end."""
    for earlier, later in pairwise(times):
        if began <= later <= ended:
            yield later - earlier - INTERVAL_S
    overdue = ended - (times[-1] if times else began) - INTERVAL_S
    if overdue > 0:
        yield overdue
