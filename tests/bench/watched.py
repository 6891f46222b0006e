"""How many jobs can be watched at one poll a second each, seen from CPH's side."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from app.devkit.processes import wait_until
from app.store.agenda import POLL
from tests.bench.asyncio_loop import AsyncioLoop
from tests.bench.bridge import BridgeUnderBench
from tests.bench.figures import Effort, Figure
from tests.bench.harness import INTERVAL_S, Build, Rig, cpu_us, job_ids, progress, rig
from tests.bench.naive import Naive
from tests.bench.servers import JOBS_A_REQUEST

LATENESS_S = 2.0  # the 99th percentile stays below
WANTED, WANTED_LISTED, WANTED_LISTED_OF_ASYNCIO = 12, 150, 10
FIRST_BRIDGE, FIRST_LISTED, FIRST_ASYNCIO, FIRST_NAIVE = 2_000, 20_000, 1_000, 100  # where the search begins
STEPS = 10  # in which the jobs are given to the program, so that they fall due spread over a second
FIRST_LOOK_S = 30
SETTLE_S = LATENESS_S + INTERVAL_S  # one gap that is just not too long

Listed = partial(
    BridgeUnderBench, jobs_each=JOBS_A_REQUEST, requests_known=True
)  # as those who submit the jobs register them


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
    def most(build: Build, first: int, **options: Any) -> Trial:
        return largest(lambda jobs: trial(build, jobs, effort.window_s, **options), first, effort.precision)

    naive = most(Naive, FIRST_NAIVE)
    asyncio = most(AsyncioLoop, FIRST_ASYNCIO)
    shown = most(BridgeUnderBench, FIRST_BRIDGE)
    listed = most(Listed, FIRST_LISTED, cph="listing")
    return [
        Figure("jobs watched, a poll a second (ShowJob)", shown.jobs, naive.jobs, "jobs", wanted=WANTED),
        Figure("… beside the asyncio loop", shown.jobs, asyncio.jobs, "jobs"),
        Figure("… CPU for a poll", shown.cpu_us, naive.cpu_us, "µs", less_is_better=True),
        Figure("jobs watched, a poll a second (ListJobs)", listed.jobs, naive.jobs, "jobs", wanted=WANTED_LISTED),
        Figure("… beside the asyncio loop", listed.jobs, asyncio.jobs, "jobs", wanted=WANTED_LISTED_OF_ASYNCIO),
        Figure("… CPU for a poll", listed.cpu_us, naive.cpu_us, "µs", less_is_better=True),
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
    """cph: `listing` for one whose jobs can be asked for by request, then lateness is that of whole requests."""
    together = JOBS_A_REQUEST if cph == "listing" else 1
    jobs -= jobs % together
    with rig(build, cph=cph) as parts, parts.workers(*[POLL] * parts.program.pollers) as crew:
        ids = job_ids(jobs)
        _watch(parts, ids, together)
        cpu_before, began = cpu_us(crew), time.monotonic()
        time.sleep(window_s)
        cpu_used, ended = cpu_us(crew) - cpu_before, time.monotonic()
        asked: Mapping[str, Sequence[float]] = parts.cph.ask("asked")
        name = parts.program.name
    ids = job_ids(jobs // together)
    lateness = sorted(late for id in ids for late in _lateness(asked.get(id, ()), began, ended))
    polls = sum(began <= at <= ended for times in asked.values() for at in times) * together
    result = Trial(jobs, lateness[len(lateness) * 99 // 100], polls / (ended - began), cpu_used / max(1, polls))
    progress.print(
        f"  {name}: {jobs} jobs, 99 % at most {result.lateness_s:.2f} s late, "
        f"{result.polls_a_second:.0f} polls/s, {result.cpu_us:.1f} µs of CPU each"
    )
    return result


def _watch(parts: Rig, ids: Sequence[str], together: int) -> None:
    """Returns when the workers are at it. together: jobs that are registered at one time."""
    first, *others = [ids[begin : begin + together] for begin in range(0, len(ids), together)]
    parts.program.watch(first)
    wait_until(lambda: parts.cph.ask(f"asked/{ids[0]}"), timeout=FIRST_LOOK_S, what="the first poll")
    for step in range(STEPS):
        parts.program.watch([job_id for group in others[step::STEPS] for job_id in group])
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
