"""When to ask CPH about a job again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from math import log1p, sqrt
from typing import Self

SHARE = 0.1
BUCKETS = 48
ENOUGH = 3  # jobs, before a histogram is believed
FADE_ABOVE = 256  # jobs: more notice a new pace later, fewer leave more to chance
PHANTOMS = 0.25  # jobs said to be still running at every age: the doubt that is left where no job has ended


def bucket_of(duration: timedelta) -> int:
    """By whole seconds, four to each doubling: 0, 1, … 7, 8-9, 10-11, … 7168 and all above."""
    seconds = max(0, duration // timedelta(seconds=1))
    doublings = max(0, seconds.bit_length() - 3)
    return min(4 * doublings + (seconds >> doublings), BUCKETS - 1)


def _start_of(bucket: int) -> int:
    doublings = max(0, bucket // 4 - 1)
    return (bucket - 4 * doublings) << doublings


EDGES = tuple(map(_start_of, range(BUCKETS + 1)))


@dataclass(frozen=True, slots=True)
class Durations:
    """What is known of how long such jobs take. Made once for many waits: it holds what they would else work out again.

    hazards: in each bucket, how many of the jobs still running end in a second. sums: of the hazard, up to each edge.
    """

    hazards: tuple[float, ...]
    sums: tuple[float, ...]

    @classmethod
    def from_counts(cls, counts: Mapping[int, int]) -> Self | None:
        """Of a histogram, bucket → jobs; None while they are too few to be believed."""
        if sum(counts.values()) < ENOUGH:
            return None
        hazards = tuple(_hazards(_smoothed([counts.get(bucket, 0) for bucket in range(BUCKETS)])))
        widths = (end - start for start, end in pairwise(EDGES))
        sums = accumulate((hazard * width for hazard, width in zip(hazards, widths, strict=True)), initial=0.0)
        return cls(hazards, tuple(sums))

    def next_age(self, age: float, cost: float) -> float:
        """When asking again is worth a call: once the odds that the job has ended since reach √(2 · cost · hazard).

        All in seconds. Past the table the rule of those who know nothing.
        """
        first = bucket_of(timedelta(seconds=age))
        known = self.sums[first] + (age - EDGES[first]) * self.hazards[first]
        for bucket in range(first, BUCKETS):
            hazard = self.hazards[bucket]
            wanted = known + log1p(sqrt(2 * cost * hazard))
            if self.sums[bucket + 1] >= wanted:
                # It may be true at the very start: where fewer end than just before, there is nothing to wait for.
                return EDGES[bucket] + max(0.0, wanted - self.sums[bucket]) / hazard
        return max(EDGES[-1], age * (1 + SHARE))


def _smoothed(counts: Sequence[int]) -> Sequence[float]:
    """Half of each count goes to the neighbours, so that chance in a small histogram matters less."""
    padded = [counts[0], *counts, counts[-1]]
    return [(padded[i] + 2 * padded[i + 1] + padded[i + 2]) / 4 for i in range(len(counts))]


def _hazards(counts: Sequence[float]) -> Iterator[float]:
    """Ends per second of running, the phantoms' included: these end at the rate 1/age, that of every scale alike."""
    running = sum(counts)
    for ended, (start, end) in zip(counts, pairwise(EDGES), strict=True):
        width = end - start
        run = (max(0.0, running - ended / 2) + PHANTOMS) * width
        yield (ended + PHANTOMS * width / end) / run
        running -= ended


def lasted(since: datetime, ended: datetime | None, now: datetime) -> timedelta | None:
    """How long a job took from `since` on; None if it had ended before, which says nothing of how long jobs take.

    ended: by CPH's clock, or None; never later than it was noticed, at `now`.
    """
    end = min(ended or now, now)
    return end - since if end >= since else None


@dataclass(frozen=True, slots=True)
class Cadence:
    """Asks when the end is likely; while nothing is known of such jobs, soon at first and later less often.

    The latter sees an end late by at most a tenth of the job's own duration (or by `floor`, for short ones),
    and watching a job for an hour costs tens of calls, not thousands. docs/cadence.md tells the rest.
    cost: the delay that one call is worth.
    """

    floor: timedelta
    ceiling: timedelta
    cost: timedelta = timedelta(seconds=1)

    def wait(self, age: timedelta, durations: Durations | None = None) -> timedelta:
        """How long to wait before asking again about a job of this age; never below `floor`, never above `ceiling`."""
        if durations is None:
            return max(self.floor, min(age * SHARE, self.ceiling))
        seconds = max(0.0, age.total_seconds())
        wait = timedelta(seconds=durations.next_age(seconds, self.cost.total_seconds()) - seconds)
        return max(self.floor, min(wait, self.ceiling))
