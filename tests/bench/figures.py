"""Figures with their baselines."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.box import SIMPLE
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Effort:
    """window_s: the time over which a rate is measured. precision: the factor to which a maximum is searched.

    callbacks, samples: the numbers for the bridge. The naive program gets fewer, as it is slower.
    backlogs: numbers of watched jobs, at least two, in ascending order.
    """

    window_s: float
    precision: float
    callbacks: int
    samples: int
    backlogs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """wanted: the lowest ratio that is acceptable, or None if the figure is only shown."""

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
    """The value with three significant digits: more would be noise."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
