"""`python -m tests.bench.cadence`: simulates the learning cadence and fixed rivals, and writes docs/cadence.svg."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import count, pairwise
from math import log, nan

import click
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from app.domain.cadence import Cadence, Durations
from tests.bench.cadence_plot import Panel, plot
from tests.support.duration_counts import with_one_more
from tests.support.paths import ROOT

Wait = Callable[[timedelta], timedelta]
Sample = Callable[[random.Random], float]
CEILING = timedelta(seconds=30)  # BRIDGE_POLL_MAX_S
LONGEST_S = 5_400.0  # the longest timeout of Terraform
PLOT = ROOT / "docs" / "cadence.svg"
COSTS_S = tuple(1024.0 / 2**step for step in range(28))


@dataclass(frozen=True, slots=True)
class Means:
    """Means over many jobs. calls: including the first one after registration. delay_s: from a job's end to a poll."""

    calls: float
    delay_s: float


@dataclass(frozen=True, slots=True)
class Rival:
    """waits: the successive waits for one job. floor: our shortest wait in the comparison, to be fair to the rival."""

    name: str
    waits: Callable[[], Iterator[float]]
    floor: timedelta


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison with a rival. ours: our delay at the rival's calls, and our calls at the rival's delay."""

    rival: str
    theirs: Means
    ours: Means

    @property
    def won(self) -> bool:
        return self.ours.calls < self.theirs.calls or self.ours.delay_s < self.theirs.delay_s


def _long_tailed(median_s: float) -> Sample:
    """Most durations are within a quarter of the median. One in ten is longer, a few of them very much."""

    def sample(rng: random.Random) -> float:
        slowdown = rng.paretovariate(1.5) if rng.random() < 0.1 else 1.0
        return min(median_s * rng.lognormvariate(0, 0.25) * slowdown, LONGEST_S)

    return sample


def _recorded(rng: random.Random) -> float:
    """The durations in CPH's published examples, with equal probability. No other records exist."""
    return rng.choice((6, 30, 32, 240, 300)) + rng.uniform(-0.5, 0.5)


SAMPLES: Mapping[str, Sample] = {
    "6 s": _long_tailed(6),
    "30 s": _long_tailed(30),
    "5 min": _long_tailed(300),
    "30 min": _long_tailed(1800),
    "recorded": _recorded,
}


def every(seconds: float) -> Callable[[], Iterator[float]]:
    return lambda: (seconds for _ in count())


def doubling() -> Iterator[float]:
    """The waits of Terraform."""
    return (min(0.2 * 2.0**n, 10.0) for n in count())


SLOW = (Rival("each 10 s", every(10), timedelta(seconds=1)),)
QUICK = (Rival("0.2 → 10 s", doubling, timedelta(seconds=0.2)), Rival("each 1 s", every(1), timedelta(seconds=0.2)))


def jobs(sample: Sample, number: int, seed: int) -> Sequence[float]:
    rng = random.Random(seed)
    return [sample(rng) for _ in range(number)]


def simulate_rival(rival: Rival, ends: Sequence[float]) -> Means:
    calls, delay = 0, 0.0
    for end in ends:
        age = 0.0
        waits = rival.waits()
        calls += 1
        while age < end:
            age += next(waits)
            calls += 1
        delay += age - end
    return Means(calls / len(ends), delay / len(ends))


def simulate_learning(cadence: Cadence, ends: Sequence[float], *, learns: bool = True) -> Means:
    """Simulates one job after another. The first ones have no known durations."""
    calls, delay = 0, 0.0
    counts: Mapping[int, int] = {}
    durations = None
    for end in ends:
        age, lasts = timedelta(), timedelta(seconds=end)
        calls += 1
        while age < lasts:
            age += cadence.wait(age, durations)
            calls += 1
        delay += (age - lasts).total_seconds()
        if learns:
            counts = with_one_more(counts, lasts)
            durations = Durations.from_counts(counts)
    return Means(calls / len(ends), delay / len(ends))


def sweep(floor: timedelta, ends: Sequence[float], rivals: Sequence[Means]) -> Sequence[Means]:
    """Simulates falling costs of a call, until we have more calls and less delay than every rival."""
    found: list[Means] = []
    for cost in COSTS_S:
        found.append(simulate_learning(Cadence(floor, CEILING, timedelta(seconds=cost)), ends))
        if all(found[-1].calls > theirs.calls and found[-1].delay_s < theirs.delay_s for theirs in rivals):
            break
    return found


def compare(rivals: Sequence[Rival], ends: Sequence[float]) -> tuple[Sequence[Comparison], Sequence[Means]]:
    """Compares with rivals that have the same floor. Returns our curve, too."""
    theirs = [simulate_rival(rival, ends) for rival in rivals]
    curve = sweep(rivals[0].floor, ends, theirs)
    by_calls = [(means.calls, means.delay_s) for means in curve]
    by_delay = [(delay, calls) for calls, delay in by_calls]
    compared = [
        Comparison(rival.name, means, Means(_at(means.delay_s, by_delay), _at(means.calls, by_calls)))
        for rival, means in zip(rivals, theirs, strict=True)
    ]
    return compared, curve


def _at(wanted: float, curve: Sequence[tuple[float, float]]) -> float:
    """The curve's value at `wanted`, interpolated on logarithmic axes, or nan outside the curve."""
    for (x, y), (next_x, next_y) in pairwise(curve):
        if min(x, next_x) <= wanted <= max(x, next_x) and x != next_x:
            return y * (next_y / y) ** (log(wanted / x) / log(next_x / x))
    return nan


def table(comparisons: Mapping[str, Sequence[Comparison]]) -> Table:
    shown = Table(box=MARKDOWN)
    for heading in ("jobs of", "rival", "its calls", "its delay", "calls at its delay", "delay at its calls"):
        shown.add_column(heading, justify="left" if heading in {"jobs of", "rival"} else "right")
    for name, rows in comparisons.items():
        for row in rows:
            theirs, ours = row.theirs, row.ours
            shown.add_row(
                name,
                row.rival,
                f"{theirs.calls:.1f}",
                f"{theirs.delay_s:.2f} s",
                f"{ours.calls:.1f} ({ours.calls / theirs.calls - 1:+.1%})",
                f"{ours.delay_s:.2f} s ({ours.delay_s / theirs.delay_s - 1:+.1%})",
            )
    return shown


@click.command()
@click.option("--jobs", "number", default=3_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--draw/--no-draw", default=True, help="Whether docs/cadence.svg is written.")
def main(number: int, seed: int, *, draw: bool) -> None:
    """Compares calls and delay of the learning cadence with those of rivals, in a few minutes."""
    comparisons: dict[str, Sequence[Comparison]] = {}
    panels: list[Panel] = []
    for name, sample in SAMPLES.items():
        ends = jobs(sample, number, seed)
        slow, _ = compare(SLOW, ends)
        quick, curve = compare(QUICK, ends)  # this curve reaches further
        comparisons[name] = [*slow, *quick]
        usual = Cadence(timedelta(seconds=1), CEILING)
        panels.append(
            Panel(
                name,
                curve=[(means.calls, means.delay_s) for means in curve],
                usual=_point(simulate_learning(usual, ends)),
                without_learning=_point(simulate_learning(usual, ends, learns=False)),
                rivals={comparison.rival: _point(comparison.theirs) for comparison in comparisons[name]},
            )
        )
    Console(width=120).print(table(comparisons))
    if draw:
        PLOT.write_text(plot(panels), encoding="utf-8")


def _point(means: Means) -> tuple[float, float]:
    return means.calls, means.delay_s


if __name__ == "__main__":
    main()
