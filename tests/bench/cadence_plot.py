"""Plots delay over calls as plain SVG, with a panel for each kind of job."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import ceil, floor, log10

Point = tuple[float, float]

WIDTH, HEIGHT, GAP = 210, 230, 14
LEFT, TOP, BOTTOM = 44, 64, 40
DELAYS_S = (0.1, 50.0)
# Medium tones, visible on white and on black.
INK, FAINT, OURS, WITHOUT_LEARNING, THEIRS = "#808080", "#80808040", "#2f81f7", "#2f9e63", "#e0722b"
STYLE = f"text{{font:11px system-ui,sans-serif;fill:{INK}}}.name{{font-weight:600;font-size:13px}}"


@dataclass(frozen=True, slots=True)
class Panel:
    """Points are calls per job and mean delay (s). curve: ours for many costs of a call. usual: the default cost."""

    name: str
    curve: Sequence[Point]
    usual: Point
    without_learning: Point
    rivals: Mapping[str, Point]


@dataclass(frozen=True, slots=True)
class Frame:
    """Maps points of a panel to coordinates. Both axes are logarithmic."""

    x: float
    calls: Point

    def at(self, point: Point) -> Point:
        return (
            self.x + WIDTH * _share(point[0], self.calls),
            TOP + HEIGHT * (1 - _share(point[1], DELAYS_S)),
        )


def plot(panels: Sequence[Panel]) -> str:
    width = LEFT + len(panels) * (WIDTH + GAP)
    height = TOP + HEIGHT + BOTTOM
    title = "Mean delay over calls a job: the cadence that learns, and others"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">',
        f"<style>{STYLE}</style>",
        *_legend(),
        f'<text transform="translate(12 {TOP + HEIGHT / 2}) rotate(-90)" text-anchor="middle">mean delay, s</text>',
        f'<text x="{width / 2}" y="{height - 6}" text-anchor="middle">calls a job</text>',
    ]
    for number, panel in enumerate(panels):
        points = [*panel.curve, panel.usual, panel.without_learning, *panel.rivals.values()]
        calls = [calls for calls, _ in points]
        frame = Frame(LEFT + number * (WIDTH + GAP), (min(calls) / 1.25, max(calls) * 1.25))
        lines += [*_grid(frame, named=number == 0), *_panel(panel, frame)]
    return "\n".join([*lines, "</svg>", ""])


def _share(value: float, bounds: Point) -> float:
    low, high = (log10(bound) for bound in bounds)
    return (log10(value) - low) / (high - low)


def _legend() -> Iterator[str]:
    kinds = (
        (OURS, "the cadence that learns, from dear calls to cheap ones; dot: a call worth 1 s of delay"),
        (WITHOUT_LEARNING, "the same, never learning: a tenth of the age"),
        (THEIRS, "others"),
    )
    x = float(LEFT)
    for colour, text in kinds:
        yield f'<circle cx="{x + 5:.0f}" cy="16" r="4" fill="{colour}"/><text x="{x + 14:.0f}" y="20">{text}</text>'
        x += 40 + 5.6 * len(text)


def _grid(frame: Frame, *, named: bool) -> Iterator[str]:
    """named: whether delays are labelled."""
    left, right, bottom = frame.x, frame.x + WIDTH, TOP + HEIGHT
    for delay in _round_numbers(DELAYS_S):
        y = frame.at((frame.calls[0], delay))[1]
        yield f'<path d="M{left:.1f} {y:.1f}H{right:.1f}" stroke="{FAINT}"/>'
        if named:
            yield f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{delay:g}</text>'
    for calls in _round_numbers(frame.calls):
        x = frame.at((calls, 1))[0]
        yield f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="{FAINT}"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{calls:g}</text>'


def _round_numbers(bounds: Point) -> Iterator[float]:
    """1, 3, 10, 30 …"""
    low, high = bounds
    powers = range(floor(log10(low)), ceil(log10(high)))
    return (digit * 10.0**power for power in powers for digit in (1, 3) if low <= digit * 10.0**power <= high)


def _panel(panel: Panel, frame: Frame) -> Iterator[str]:
    yield f'<text class="name" x="{frame.x:.1f}" y="{TOP - 12}">{panel.name}</text>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(frame.at, panel.curve))
    yield f'<polyline points="{path}" fill="none" stroke="{OURS}" stroke-width="2" stroke-linejoin="round"/>'
    for (name, point), dy in zip(
        panel.rivals.items(), cycle((17, -9)), strict=False
    ):  # alternating sides, as two points may coincide
        x, y = frame.at(point)
        yield _dot((x, y), THEIRS)
        yield f'<text x="{x:.1f}" y="{y + dy:.1f}" text-anchor="middle">{name}</text>'
    yield _dot(frame.at(panel.without_learning), WITHOUT_LEARNING)
    yield _dot(frame.at(panel.usual), OURS)


def _dot(at: Point, colour: str) -> str:
    return f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="4" fill="{colour}"/>'
