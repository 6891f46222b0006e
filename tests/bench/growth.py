"""What watched jobs cost in Redis, and how this grows with their number."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from app.devkit.processes import wait_until
from app.store.agenda import DELIVER
from tests.bench.bridge import BridgeUnderBench
from tests.bench.figures import Effort, Figure
from tests.bench.harness import Build, Rig, job_ids, progress, rig
from tests.bench.naive import Naive

LARGEST = 1_000  # jobs of one registration
MOST_BYTES = 1_000
KEPT, MOST_KEPT = 2_000, 3_000  # jobs; bytes of one that has ended and was called back
TIMEOUT_S = 120.0
CLAIMS, CLAIMED = 50, 100
HALF = 0.5  # of ten or a hundred times the backlog a claim may feel no more than this: noise, and a logarithm
MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Size:
    """claim_us: the quickest claim of CLAIMED jobs, while all are due: neighbours only make it slower."""

    jobs: int
    bytes_each: float
    claim_us: float


def measure(effort: Effort) -> list[Figure]:
    smallest, measured, *_ = effort.backlogs
    first, *others = sizes(effort.backlogs)
    alone = others[0].bytes_each
    naive = bytes_each(Naive, smallest)
    together = bytes_each(partial(BridgeUnderBench, jobs_each=LARGEST), measured)
    figures = [
        Figure("Redis for a job by itself", alone, naive, "bytes", less_is_better=True),
        Figure(f"… beside {MOST_BYTES:,} bytes", alone, MOST_BYTES, "bytes", wanted=1, less_is_better=True),
        Figure(f"Redis for a job of {LARGEST:,}", together, naive, "bytes", less_is_better=True),
    ]
    kept = Figure(f"… that was called back, beside {MOST_KEPT:,}", kept_each(KEPT), MOST_KEPT, "bytes", 1, True)
    figures.append(kept)
    for size in others:
        beside = f"{size.jobs:,} jobs, beside {first.jobs:,}"
        grown = Figure(f"Redis for a job, {beside}", size.bytes_each, first.bytes_each, "bytes", less_is_better=True)
        claim = f"a claim of {CLAIMED}, {beside}"
        figures += [grown, Figure(claim, size.claim_us, first.claim_us, "µs", wanted=HALF, less_is_better=True)]
    return figures


def sizes(backlogs: Sequence[int]) -> Iterator[Size]:
    """In one Redis that grows from each to the next."""
    with rig(BridgeUnderBench) as parts:
        assert isinstance(parts.program, BridgeUnderBench)
        jobs, ids = 0, iter(job_ids(backlogs[-1] + 1))
        parts.program.watch([next(ids)])  # scripts and connections, which cost but once
        before = _used(parts)
        for backlog in backlogs:
            parts.program.watch([next(ids) for _ in range(backlog - jobs)])
            jobs = backlog
            used = (_used(parts) - before) / jobs
            claim = min(parts.program.claim(CLAIMED) for _ in range(CLAIMS)) * MICROSECONDS
            progress.print(
                f"  bridge: {used:.0f} bytes for each of {jobs} jobs, {claim:.0f} µs for a claim of {CLAIMED}"
            )
            yield Size(jobs, used, claim)


def bytes_each(build: Build, jobs: int) -> float:
    with rig(build) as parts:
        first, *others = job_ids(jobs + 1)
        parts.program.watch([first])
        before = _used(parts)
        parts.program.watch(others)
        used = (_used(parts) - before) / jobs
        progress.print(f"  {parts.program.name}: {used:.0f} bytes for each of {jobs} jobs")
    return used


def kept_each(jobs: int) -> float:
    """Until it is forgotten, with a registration of its own."""
    with rig(BridgeUnderBench) as parts:
        first, *others = job_ids(jobs + 1)
        _call_back(parts, [first], 1)
        before = _used(parts)
        _call_back(parts, others, 1 + jobs)
        used = (_used(parts) - before) / jobs
        progress.print(f"  bridge: {used:.0f} bytes for each of {jobs} jobs that were called back")
    return used


def _call_back(parts: Rig, ids: Sequence[str], count: int) -> None:
    """Returns when all, `count` with those before, are recorded: workers end with nothing in hand."""
    parts.program.owe(ids)
    with parts.workers(DELIVER):
        wait_until(lambda: parts.receiver.ask("count") >= count, timeout=TIMEOUT_S, what=f"{count} callbacks")


def _used(parts: Rig) -> float:
    used: float = parts.redis.info("memory")["used_memory"]
    return used
