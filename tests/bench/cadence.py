"""`python -m tests.bench.cadence`: the cadence that learns beside fixed ones, simulated; writes docs/cadence.svg."""

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
LONGEST_S = 5_400.0  # Terraform waits no longer for anything
PLOT = ROOT / "docs" / "cadence.svg"
COSTS_S = tuple(1024.0 / 2**step for step in range(28))


@dataclass(frozen=True, slots=True)
class Means:
    """Of many jobs. calls: that right after registration among them. delay_s: from a job's end until it is seen."""

    calls: float
    delay_s: float


@dataclass(frozen=True, slots=True)
class Rival:
    """waits: one after another, for one job. floor: ours beside it, as a wait no shorter than its own were unfair."""

    name: str
    waits: Callable[[], Iterator[float]]
    floor: timedelta


@dataclass(frozen=True, slots=True)
class Comparison:
    """Against a rival: our delay at its calls, our calls at its delay."""

    rival: str
    theirs: Means
    ours: Means

    @property
    def won(self) -> bool:
        return self.ours.calls < self.theirs.calls or self.ours.delay_s < self.theirs.delay_s


def _long_tailed(median_s: float) -> Sample:
    """Most within a quarter of the median; one in ten is held up, some of these for very long."""

    def sample(chance: random.Random) -> float:
        held_up = chance.paretovariate(1.5) if chance.random() < 0.1 else 1.0
        return min(median_s * chance.lognormvariate(0, 0.25) * held_up, LONGEST_S)

    return sample


def _recorded(chance: random.Random) -> float:
    """The examples that CPH publishes, to the second, each as often as the others: there are no more records."""
    return chance.choice((6, 30, 32, 240, 300)) + chance.uniform(-0.5, 0.5)


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
    """Terraform's."""
    return (min(0.2 * 2.0**n, 10.0) for n in count())


SLOW = (Rival("each 10 s", every(10), timedelta(seconds=1)),)
QUICK = (Rival("0.2 → 10 s", doubling, timedelta(seconds=0.2)), Rival("each 1 s", every(1), timedelta(seconds=0.2)))


def jobs(sample: Sample, number: int, seed: int) -> Sequence[float]:
    chance = random.Random(seed)
    return [sample(chance) for _ in range(number)]


def rigid(rival: Rival, ends: Sequence[float]) -> Means:
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


def learning(cadence: Cadence, ends: Sequence[float], *, learns: bool = True) -> Means:
    """One job after the other, the first ones without knowing anything."""
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


def sweep(floor: timedelta, ends: Sequence[float], beyond: Sequence[Means]) -> Sequence[Means]:
    """From a cost of minutes a call, so very few calls, until no rival has more of them or less delay."""
    found: list[Means] = []
    for cost in COSTS_S:
        found.append(learning(Cadence(floor, CEILING, timedelta(seconds=cost)), ends))
        if all(found[-1].calls > theirs.calls and found[-1].delay_s < theirs.delay_s for theirs in beyond):
            break
    return found


def compare(rivals: Sequence[Rival], ends: Sequence[float]) -> tuple[Sequence[Comparison], Sequence[Means]]:
    """Rivals beside which our floor is the same."""
    theirs = [rigid(rival, ends) for rival in rivals]
    curve = sweep(rivals[0].floor, ends, theirs)
    by_calls = [(means.calls, means.delay_s) for means in curve]
    by_delay = [(delay, calls) for calls, delay in by_calls]
    compared = [
        Comparison(rival.name, means, Means(_at(means.delay_s, by_delay), _at(means.calls, by_calls)))
        for rival, means in zip(rivals, theirs, strict=True)
    ]
    return compared, curve


def _at(wanted: float, curve: Sequence[tuple[float, float]]) -> float:
    """The curve's value there, straight between its points on logarithmic axes; nan where it does not go."""
    for (x, y), (next_x, next_y) in pairwise(curve):
        if min(x, next_x) <= wanted <= max(x, next_x) and x != next_x:
            return y * (next_y / y) ** (log(wanted / x) / log(next_x / x))
    return nan


def table(comparisons: Mapping[str, Sequence[Comparison]]) -> Table:
    shown = Table(box=MARKDOWN)
    for heading in ("jobs of", "beside", "its calls", "its delay", "calls at its delay", "delay at its calls"):
        shown.add_column(heading, justify="left" if heading in {"jobs of", "beside"} else "right")
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
    """Calls and delay of the cadence that learns, beside those of others, in a few minutes."""
    comparisons: dict[str, Sequence[Comparison]] = {}
    panels: list[Panel] = []
    for name, sample in SAMPLES.items():
        ends = jobs(sample, number, seed)
        slow, _ = compare(SLOW, ends)
        quick, curve = compare(QUICK, ends)  # whose curve reaches further
        comparisons[name] = [*slow, *quick]
        usual = Cadence(timedelta(seconds=1), CEILING)
        panels.append(
            Panel(
                name,
                curve=[(means.calls, means.delay_s) for means in curve],
                usual=_point(learning(usual, ends)),
                ignorant=_point(learning(usual, ends, learns=False)),
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
