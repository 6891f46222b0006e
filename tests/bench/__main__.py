"""`python -m tests.bench`: compares the bridge with a naive program. Exits with 1 if a ratio misses its target."""

import math
import signal
import sys
import traceback
from dataclasses import replace

import click
from rich.console import Console

from tests.bench import api, callbacks, growth, latency, watched
from tests.bench.figures import Effort, Figure, table
from tests.bench.harness import progress

PARTS = {
    "watched": watched.measure,
    "callbacks": callbacks.measure,
    "latency": latency.measure,
    "growth": growth.measure,
    "api": api.measure,
}
FULL = Effort(window_s=10, precision=1.1, callbacks=10_000, samples=30, backlogs=(10_000, 100_000))
QUICK = Effort(window_s=2, precision=math.inf, callbacks=1_000, samples=3, backlogs=(1_000, 10_000))
MILLION = 1_000_000


@click.command()
@click.option(
    "--part", "names", multiple=True, type=click.Choice(list(PARTS)), help="Runs only this part. May be repeated."
)
@click.option("--quick", is_flag=True, help="Checks within a minute that all parts run. The figures mean little.")
@click.option(
    "--million", is_flag=True, help="Measures growth up to a million jobs. Takes some minutes more and 1 GB of memory."
)
@click.option("--window-s", type=click.FloatRange(min=2), help="The time over which a rate is measured.")
def main(names: tuple[str, ...], *, quick: bool, million: bool, window_s: float | None) -> None:
    """Compares the bridge with a naive program, in about eight minutes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that child processes are ended
    effort = QUICK if quick else FULL
    if million:
        effort = replace(effort, backlogs=(*effort.backlogs, MILLION))
    if window_s:
        effort = replace(effort, window_s=window_s)
    figures: list[Figure] = []
    complete = True
    for name in names or PARTS:
        progress.print(name)
        try:
            figures += PARTS[name](effort)
        except Exception:  # noqa: BLE001 - the figures of the other parts are still useful
            complete = False
            traceback.print_exc()
    Console().print(table(figures))
    sys.exit(0 if complete and all(figure.good for figure in figures) else 1)


if __name__ == "__main__":
    main()
