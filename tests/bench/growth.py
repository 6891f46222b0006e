"""Measures the memory of watched jobs in Redis, and how it grows with their number."""

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
MAX_BYTES = 1_000
CALLED_BACK_JOBS = 2_000
MAX_CALLED_BACK_BYTES = 3_000  # of a job that has ended and whose callback was delivered
TIMEOUT_S = 120.0
CLAIMS, CLAIMED = 50, 100
HALF = 0.5  # with ten or a hundred times the backlog, a claim may take twice as long: noise, and a logarithm
MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Size:
    """claim_us: the fastest claim of CLAIMED jobs while all are due. Other load only makes claims slower."""

    jobs: int
    bytes_each: float
    claim_us: float


def measure(effort: Effort) -> list[Figure]:
    smallest, measured, *_ = effort.backlogs
    first, *others = sizes(effort.backlogs)
    single_job = others[0].bytes_each
    naive = bytes_each(Naive, smallest)
    together = bytes_each(partial(BridgeUnderBench, jobs_each=LARGEST), measured)
    figures = [
        Figure("Redis for a job by itself", single_job, naive, "bytes", less_is_better=True),
        Figure(f"… against {MAX_BYTES:,} bytes", single_job, MAX_BYTES, "bytes", wanted=1, less_is_better=True),
        Figure(f"Redis for a job of {LARGEST:,}", together, naive, "bytes", less_is_better=True),
    ]
    called_back = Figure(
        f"… that was called back, against {MAX_CALLED_BACK_BYTES:,}",
        called_back_bytes_each(CALLED_BACK_JOBS),
        MAX_CALLED_BACK_BYTES,
        "bytes",
        1,
        True,
    )
    figures.append(called_back)
    for size in others:
        sizes_compared = f"{size.jobs:,} jobs, against {first.jobs:,}"
        memory = Figure(
            f"Redis for a job, {sizes_compared}", size.bytes_each, first.bytes_each, "bytes", less_is_better=True
        )
        claim = f"a claim of {CLAIMED}, {sizes_compared}"
        figures += [memory, Figure(claim, size.claim_us, first.claim_us, "µs", wanted=HALF, less_is_better=True)]
    return figures


def sizes(backlogs: Sequence[int]) -> Iterator[Size]:
    """Measures all backlogs in one Redis that grows from each to the next."""
    with rig(BridgeUnderBench) as parts:
        assert isinstance(parts.program, BridgeUnderBench)
        jobs, ids = 0, iter(job_ids(backlogs[-1] + 1))
        parts.program.watch([next(ids)])  # scripts and connections take memory only once
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


def called_back_bytes_each(jobs: int) -> float:
    """Bytes for each job whose callback was delivered, with its own registration, until its records expire."""
    with rig(BridgeUnderBench) as parts:
        first, *others = job_ids(jobs + 1)
        _deliver_callbacks(parts, [first], 1)
        before = _used(parts)
        _deliver_callbacks(parts, others, 1 + jobs)
        used = (_used(parts) - before) / jobs
        progress.print(f"  bridge: {used:.0f} bytes for each of {jobs} jobs that were called back")
    return used


def _deliver_callbacks(parts: Rig, ids: Sequence[str], count: int) -> None:
    """Returns when `count` callbacks, including earlier ones, have arrived and workers have recorded them."""
    parts.program.create_deliveries(ids)
    with parts.workers(DELIVER):
        wait_until(lambda: parts.receiver.query("count") >= count, timeout=TIMEOUT_S, what=f"{count} callbacks")


def _used(parts: Rig) -> float:
    used: float = parts.redis.info("memory")["used_memory"]
    return used
