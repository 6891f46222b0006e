"""`./dev simulate`: plays random histories and checks the promises. Exits with 1 if one is broken."""

import logging
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
from redis import Redis

from app.devkit.redis_server import RedisServer
from tests.simulate import damage as damaging
from tests.simulate.bridge import SimulatedBridge
from tests.simulate.damage import DamagedBridge
from tests.simulate.model import Violation
from tests.simulate.player import Player
from tests.simulate.shrink import shrunk
from tests.simulate.steps import Step, history, printable

PROGRESS_EVERY_S = 10.0


@click.command()
@click.option("--seeds", default=1_000, show_default=True, help="How many seeds.")
@click.option("--first", default=1, show_default=True, help="The first of them.")
@click.option("--steps", "length", default=80, show_default=True, help="Steps of each history.")
@click.option("--seed", type=int, help="This seed only.")
@click.option("--keep-going", is_flag=True, help="Goes on after a failure, and shrinks nothing.")
@click.option("--quick", is_flag=True, help="Ends at the first failure, and shrinks nothing.")
@click.option("--damages", is_flag=True, help="Damages each kind of record in each way instead, one at a time.")
@click.option("--only", default="", help="With --damages: those whose line matches this regular expression.")
def main(
    seeds: int, first: int, length: int, seed: int | None, *, keep_going: bool, quick: bool, damages: bool, only: str
) -> None:
    """Simulates the bridge's decisions: real scripts on a real Redis, everything else by a seed."""
    logging.disable(logging.CRITICAL)
    numbers = range(first, first + seeds) if seed is None else [seed]
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        bridge = SimulatedBridge(server.url)
        if damages:
            sys.exit(1 if try_damages(DamagedBridge(bridge, Redis.from_url(server.url)), only) else 0)
        sys.exit(1 if simulate(bridge, numbers, length, keep_going=keep_going, shrinks=not quick) else 0)


def simulate(bridge: SimulatedBridge, seeds: Sequence[int], length: int, *, keep_going: bool, shrinks: bool) -> int:
    """Returns how many seeds failed. Prints progress, each failure, and a line at the end."""
    began = shown = time.monotonic()
    failures = played = steps_played = 0
    for seed in seeds:
        steps = history(seed, length)
        played, steps_played = played + 1, steps_played + len(steps)
        if error := failure(bridge, steps):
            failures += 1
            print(f"seed {seed}: {error!r}", flush=True)
            if not keep_going:
                if shrinks:
                    _print_shrunk(bridge, steps, error)
                break
        if time.monotonic() > shown + PROGRESS_EVERY_S:
            shown = time.monotonic()
            print(f"{played} of {len(seeds)} seeds, {failures} failures, {shown - began:.0f} s", flush=True)
    took = time.monotonic() - began
    print(f"{played} seeds, {steps_played} steps, {took:.1f} s, {failures} failures", flush=True)
    return failures


def try_damages(scene: DamagedBridge, only: str) -> int:
    """Returns how many damages cost more than their record. Prints progress, each of them, and a line at the end."""
    began = shown = time.monotonic()
    scene.restore()
    failures, all_damages = 0, [each for each in damaging.damages(scene.raw) if re.search(only, str(each))]
    for number, damage in enumerate(all_damages, 1):
        if broken := damaging.broken_by(scene, damage):
            failures += 1
            print(f"{damage}: {'; '.join(broken)}", flush=True)
        if time.monotonic() > shown + PROGRESS_EVERY_S:
            shown = time.monotonic()
            print(f"{number} of {len(all_damages)} damages, {failures} failures, {shown - began:.0f} s", flush=True)
    print(f"{len(all_damages)} damages, {time.monotonic() - began:.1f} s, {failures} failures", flush=True)
    return failures


def failure(bridge: SimulatedBridge, steps: Sequence[Step]) -> Exception | None:
    """Plays a history. Returns how it failed: a broken promise, or an error of the product."""
    try:
        Player(bridge, steps).run()
    except Exception as error:  # noqa: BLE001 - any error is a finding
        return error
    return None


def _print_shrunk(bridge: SimulatedBridge, steps: Sequence[Step], error: Exception) -> None:
    kind = _kind(error)
    least = shrunk(steps, lambda some: (found := failure(bridge, some)) is not None and _kind(found) == kind)
    print(f"shrunk from {len(steps)} to {len(least)} steps; keep them in tests/simulate/kept.py:\n[")
    print(printable(least) + "]")
    print(repr(failure(bridge, least)), flush=True)


def _kind(error: Exception) -> str:
    return error.kind if isinstance(error, Violation) else type(error).__name__


if __name__ == "__main__":
    main()
