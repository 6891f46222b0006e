"""What was measured, beside what it is measured by."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.box import SIMPLE
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Effort:
    """window_s: how long a rate is looked at. precision: the factor to which a largest number is found.

    callbacks, samples: how many the bridge gets; the naive program gets fewer, as it is slower.
    backlogs: how many jobs are watched, at least two numbers, the smallest first.
    """

    window_s: float
    precision: float
    callbacks: int
    samples: int
    backlogs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """wanted: the ratio that it must reach; None where it is only shown."""

    name: str
    measured: float
    baseline: float
    unit: str
    wanted: float | None = None
    less_is_better: bool = False

    @property
    def ratio(self) -> float:
        """How many times better than the baseline."""
        return self.baseline / self.measured if self.less_is_better else self.measured / self.baseline

    @property
    def good(self) -> bool:
        return self.wanted is None or self.ratio >= self.wanted


def table(figures: Iterable[Figure]) -> Table:
    shown = Table(
        box=SIMPLE,
        caption="Ratios count. Absolute numbers don't: client, servers, Redis and workers share one machine.",
        caption_justify="left",
    )
    shown.add_column("figure")
    for heading in ("measured", "baseline", "unit", "ratio", "wanted"):
        shown.add_column(heading, justify="left" if heading == "unit" else "right")
    for figure in figures:
        shown.add_row(
            figure.name,
            _number(figure.measured),
            _number(figure.baseline),
            figure.unit,
            f"{figure.ratio:.2f}",
            f"≥ {figure.wanted:g}" if figure.wanted is not None else "",
            style=None if figure.good else "bold red",
        )
    return shown


def _number(value: float) -> str:
    """Three digits that count; more would be noise."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
