"""When to poll CPH for a job again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from math import log1p, sqrt
from typing import Self

SHARE = 0.1
BUCKETS = 48
MIN_JOBS = 3  # jobs that a histogram needs to be used
FADE_ABOVE = 256  # jobs: a higher limit adapts more slowly to new durations, a lower one is noisier
# CPH may show a job some seconds after it was submitted. One that it does not know for longer may not exist.
UNKNOWN_AT_FIRST = timedelta(seconds=30)
UNKNOWN_SHARE, UNKNOWN_CEILING = 0.5, timedelta(minutes=5)
PSEUDO_JOBS = 0.25  # jobs assumed to be running at every age: keeps a doubt at ages where no job has ended


def bucket_of(duration: timedelta) -> int:
    """Returns the bucket of whole seconds, with four buckets per doubling: 0, 1, … 7, 8-9, 10-11, … from 7168."""
    seconds = max(0, duration // timedelta(seconds=1))
    doublings = max(0, seconds.bit_length() - 3)
    return min(4 * doublings + (seconds >> doublings), BUCKETS - 1)


def _start_of(bucket: int) -> int:
    doublings = max(0, bucket // 4 - 1)
    return (bucket - 4 * doublings) << doublings


EDGES = tuple(map(_start_of, range(BUCKETS + 1)))


@dataclass(frozen=True, slots=True)
class Durations:
    """The known durations of similar jobs. Precomputed once for many calls of `next_age`.

    hazards: for each bucket, the share of running jobs that ends per second. sums: cumulative hazard up to each edge.
    """

    hazards: tuple[float, ...]
    sums: tuple[float, ...]

    @classmethod
    def from_counts(cls, counts: Mapping[int, int]) -> Self | None:
        """Builds from a histogram, bucket → jobs; None below `MIN_JOBS` jobs."""
        if sum(counts.values()) < MIN_JOBS:
            return None
        hazards = tuple(_hazards(_smoothed([counts.get(bucket, 0) for bucket in range(BUCKETS)])))
        widths = (end - start for start, end in pairwise(EDGES))
        sums = accumulate((hazard * width for hazard, width in zip(hazards, widths, strict=True)), initial=0.0)
        return cls(hazards, tuple(sums))

    def next_age(self, age: float, cost: float) -> float:
        """Returns the age at which the next call is worth its cost. All values are in seconds.

        That is when the odds that the job has ended since the last call reach √(2 · cost · hazard). Beyond the last
        bucket, the rule for unknown durations applies.
        """
        first = bucket_of(timedelta(seconds=age))
        known = self.sums[first] + (age - EDGES[first]) * self.hazards[first]
        for bucket in range(first, BUCKETS):
            hazard = self.hazards[bucket]
            wanted = known + log1p(sqrt(2 * cost * hazard))
            if self.sums[bucket + 1] >= wanted:
                # This may hold at the start of the bucket: if the hazard drops there, waiting longer gains nothing.
                return EDGES[bucket] + max(0.0, wanted - self.sums[bucket]) / hazard
        return max(EDGES[-1], age * (1 + SHARE))


def _smoothed(counts: Sequence[int]) -> Sequence[float]:
    """Moves half of each count to its neighbours, which reduces noise in small histograms."""
    padded = [counts[0], *counts, counts[-1]]
    return [(padded[i] + 2 * padded[i + 1] + padded[i + 2]) / 4 for i in range(len(counts))]


def _hazards(counts: Sequence[float]) -> Iterator[float]:
    """Yields ends per second of running time. The pseudo-jobs end at rate 1/age, which prefers no time scale."""
    running = sum(counts)
    for ended, (start, end) in zip(counts, pairwise(EDGES), strict=True):
        width = end - start
        running_s = (max(0.0, running - ended / 2) + PSEUDO_JOBS) * width
        yield (ended + PSEUDO_JOBS * width / end) / running_s
        running -= ended


def observed_duration(since: datetime, ended: datetime | None, now: datetime) -> timedelta | None:
    """Returns how long a job took from `since` on. None if it ended before: that is no sample of a duration.

    ended: by CPH's clock, or None. now: when the end was observed, an upper bound of `ended`.
    """
    end = min(ended or now, now)
    return end - since if end >= since else None


def unknown_wait(usual: timedelta, unknown_for: timedelta) -> timedelta:
    """Returns the wait before the next poll of a job that CPH has not known for so long. usual: if CPH knew it."""
    if unknown_for < UNKNOWN_AT_FIRST:
        return usual
    return max(usual, min(unknown_for * UNKNOWN_SHARE, UNKNOWN_CEILING))


@dataclass(frozen=True, slots=True)
class Cadence:
    """Polls when the end is likely. Without known durations it polls often at first, then less often.

    Then an end is seen late by at most a tenth of the job's duration (or by `floor`, for short jobs), and watching a
    job for an hour costs tens of calls, not thousands. See docs/cadence.md. cost: the delay that one call is worth.
    """

    floor: timedelta
    ceiling: timedelta
    cost: timedelta = timedelta(seconds=1)

    def wait(self, age: timedelta, durations: Durations | None = None) -> timedelta:
        """Returns the wait before the next poll of a job of this age, between `floor` and `ceiling`."""
        if durations is None:
            return max(self.floor, min(age * SHARE, self.ceiling))
        seconds = max(0.0, age.total_seconds())
        wait = timedelta(seconds=durations.next_age(seconds, self.cost.total_seconds()) - seconds)
        return max(self.floor, min(wait, self.ceiling))
