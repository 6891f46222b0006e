"""Measures how many jobs can be watched at one poll a second each, as CPH counts the polls."""

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

LATENESS_S = 2.0  # limit of the 99th percentile
TARGET, TARGET_LISTED, TARGET_LISTED_AGAINST_ASYNCIO = 12, 150, 10
FIRST_BRIDGE, FIRST_LISTED, FIRST_ASYNCIO, FIRST_NAIVE = 2_000, 20_000, 1_000, 100  # where the search begins
STEPS = 10  # the jobs are added in so many steps, so that their polls are spread over a second
FIRST_POLL_TIMEOUT_S = 30
SETTLE_S = LATENESS_S + INTERVAL_S  # the longest acceptable gap between two polls

Listed = partial(
    BridgeUnderBench, jobs_each=JOBS_A_REQUEST, requests_known=True
)  # registered as by programs that submit jobs


@dataclass(frozen=True, slots=True)
class Trial:
    """lateness_s: the 99th percentile. cpu_us: CPU time of all workers per poll."""

    jobs: int
    lateness_s: float
    polls_a_second: float
    cpu_us: float

    @property
    def in_time(self) -> bool:
        return self.lateness_s < LATENESS_S


def measure(effort: Effort) -> list[Figure]:
    def most(build: Build, first: int, **options: Any) -> Trial:
        return largest(lambda jobs: trial(build, jobs, effort.window_s, **options), first, effort.precision)

    naive = most(Naive, FIRST_NAIVE)
    asyncio = most(AsyncioLoop, FIRST_ASYNCIO)
    by_show_job = most(BridgeUnderBench, FIRST_BRIDGE)
    by_list_jobs = most(Listed, FIRST_LISTED, cph="listing")
    return [
        Figure("jobs watched, a poll a second (ShowJob)", by_show_job.jobs, naive.jobs, "jobs", wanted=TARGET),
        Figure("… against the asyncio loop", by_show_job.jobs, asyncio.jobs, "jobs"),
        Figure("… CPU for a poll", by_show_job.cpu_us, naive.cpu_us, "µs", less_is_better=True),
        Figure("jobs watched, a poll a second (ListJobs)", by_list_jobs.jobs, naive.jobs, "jobs", wanted=TARGET_LISTED),
        Figure(
            "… against the asyncio loop", by_list_jobs.jobs, asyncio.jobs, "jobs", wanted=TARGET_LISTED_AGAINST_ASYNCIO
        ),
        Figure("… CPU for a poll", by_list_jobs.cpu_us, naive.cpu_us, "µs", less_is_better=True),
    ]


def largest(attempt: Callable[[int], Trial], first: int, precision: float) -> Trial:
    """Searches the largest trial in time, to within the factor `precision`: doubling or halving, then bisection."""
    best, failed = None, math.inf
    jobs = first
    while best is None or failed > max(best.jobs * precision, best.jobs + 1):
        latest = attempt(jobs)
        if latest.in_time:
            best = latest
        else:
            failed = jobs
        if best:
            jobs = 2 * best.jobs if failed == math.inf else math.ceil(math.sqrt(best.jobs * failed))
        elif jobs > 1:
            jobs //= 2
        else:
            raise RuntimeError("not even one job is polled in time")
    return best


def trial(build: Build, jobs: int, window_s: float, *, cph: str = "cph") -> Trial:
    """cph: `listing` for a CPH with lists. Then lateness is that of whole requests."""
    jobs_per_poll = JOBS_A_REQUEST if cph == "listing" else 1
    jobs -= jobs % jobs_per_poll
    with rig(build, cph=cph) as parts, parts.workers(*[POLL] * parts.program.pollers) as pool:
        ids = job_ids(jobs)
        _watch(parts, ids, jobs_per_poll)
        cpu_before, began = cpu_us(pool), time.monotonic()
        time.sleep(window_s)
        cpu_used, ended = cpu_us(pool) - cpu_before, time.monotonic()
        polled: Mapping[str, Sequence[float]] = parts.cph.query("polled")
        name = parts.program.name
    ids = job_ids(jobs // jobs_per_poll)
    lateness = sorted(late for id in ids for late in _lateness(polled.get(id, ()), began, ended))
    polls = sum(began <= at <= ended for times in polled.values() for at in times) * jobs_per_poll
    result = Trial(jobs, lateness[len(lateness) * 99 // 100], polls / (ended - began), cpu_used / max(1, polls))
    progress.print(
        f"  {name}: {jobs} jobs, 99 % at most {result.lateness_s:.2f} s late, "
        f"{result.polls_a_second:.0f} polls/s, {result.cpu_us:.1f} µs of CPU each"
    )
    return result


def _watch(parts: Rig, ids: Sequence[str], jobs_per_poll: int) -> None:
    """Registers all jobs, and returns once the workers poll them. jobs_per_poll: jobs registered at a time."""
    first, *others = [ids[begin : begin + jobs_per_poll] for begin in range(0, len(ids), jobs_per_poll)]
    parts.program.watch(first)
    wait_until(lambda: parts.cph.query(f"polled/{ids[0]}"), timeout=FIRST_POLL_TIMEOUT_S, what="the first poll")
    for step in range(STEPS):
        parts.program.watch([job_id for group in others[step::STEPS] for job_id in group])
        time.sleep(INTERVAL_S / STEPS)
    time.sleep(SETTLE_S)


def _lateness(times: Sequence[float], began: float, ended: float) -> Iterator[float]:
    """The lateness of each poll of a job in the window, and of a poll that is overdue at its end."""
    for earlier, later in pairwise(times):
        if began <= later <= ended:
            yield later - earlier - INTERVAL_S
    overdue = ended - (times[-1] if times else began) - INTERVAL_S
    if overdue > 0:
        yield overdue
