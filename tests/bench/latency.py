"""Measures how soon a callback arrives on an idle system."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from app.devkit.processes import wait_until
from app.store.agenda import DELIVER, POLL
from tests.bench.bridge import BridgeUnderBench
from tests.bench.figures import Effort, Figure
from tests.bench.harness import INTERVAL_S, Build, Rig, job_ids, progress, rig
from tests.bench.naive import Naive

MILLISECONDS = 1e3
LIMIT_MS = INTERVAL_S * MILLISECONDS + 150


@dataclass(frozen=True, slots=True)
class Sample:
    """The time until the callback arrived: since the job ended, and since CPH's answer showed the end."""

    since_end_ms: float
    since_answer_ms: float


def measure(effort: Effort) -> list[Figure]:
    ours, theirs = samples(BridgeUnderBench, effort.samples), samples(Naive, max(2, effort.samples // 3))
    end = median(sample.since_end_ms for sample in ours)
    naive_end = median(sample.since_end_ms for sample in theirs)
    answer = median(sample.since_answer_ms for sample in ours)
    naive_answer = median(sample.since_answer_ms for sample in theirs)
    return [
        Figure("end to callback, its limit", end, LIMIT_MS, "ms", wanted=1, less_is_better=True),
        Figure("… and the naive program", end, naive_end, "ms", less_is_better=True),
        Figure("CPH's answer to callback", answer, naive_answer, "ms", less_is_better=True),
    ]


def samples(build: Build, count: int) -> Sequence[Sample]:
    """Measures one job after another."""
    with rig(build) as parts, parts.workers(POLL, DELIVER):
        measured = [_sample(parts, id, number) for number, id in enumerate(job_ids(count), start=1)]
        name = parts.program.name
    longest = max(sample.since_answer_ms for sample in measured)
    progress.print(f"  {name}: {count} callbacks, at most {longest:.0f} ms after CPH's answer")
    return measured


def _sample(parts: Rig, job_id: str, number: int) -> Sample:
    parts.program.watch([job_id])
    wait_until(lambda: parts.cph.query(f"polled/{job_id}"), what="the first poll")
    time.sleep(random.uniform(0, INTERVAL_S))  # jobs end at any point between two polls
    ended: float = parts.cph.query(f"end/{job_id}")
    wait_until(lambda: parts.receiver.query("count") == number, what="the callback")
    arrived: float = max(parts.receiver.query("arrivals"))
    reported: float = parts.cph.query(f"reported/{job_id}")
    return Sample((arrived - ended) * MILLISECONDS, (arrived - reported) * MILLISECONDS)
