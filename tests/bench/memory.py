"""What a watched job costs in Redis."""

from functools import partial

from tests.bench.bridge import Bridge
from tests.bench.figures import Effort, Figure
from tests.bench.harness import Build, job_ids, progress, rig
from tests.bench.naive import Naive

LARGEST = 1_000  # jobs of one registration


def measure(effort: Effort) -> list[Figure]:
    baseline = bytes_a_job(Naive, effort.jobs_in_redis // 10)
    alone = bytes_a_job(Bridge, effort.jobs_in_redis)
    together = bytes_a_job(partial(Bridge, jobs_each=LARGEST), effort.jobs_in_redis)
    return [
        Figure("Redis for a job by itself", alone, baseline, "bytes", less_is_better=True),
        Figure(f"Redis for a job of {LARGEST:,}", together, baseline, "bytes", less_is_better=True),
    ]


def bytes_a_job(build: Build, jobs: int) -> float:
    with rig(build) as parts:
        first, *others = job_ids(jobs + 1)
        parts.program.watch([first])  # scripts and connections, which cost but once
        before = parts.redis.info("memory")["used_memory"]
        parts.program.watch(others)
        used: float = (parts.redis.info("memory")["used_memory"] - before) / jobs
        progress.print(f"  {parts.program.name}: {used:.0f} bytes for each of {jobs} jobs")
    return used
