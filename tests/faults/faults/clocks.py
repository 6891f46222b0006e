"""Faults of clocks: the wall clock of one process, or of Redis, steps."""

from functools import partial

from tests.faults.catalog import define
from tests.faults.scene import Scene, Setting

GROUP = "clocks"
HOLD_S = 8.0
HOUR, DAY = 3_600, 86_400
# Nothing may be late by more than 30 s; the rest is for a busy machine.
RECOVERS_S, SETTLE_S = 30, 45
WHOSE = {
    "redis": ("Redis'", ("redis",)),
    "api": ("the API's", ("api-0",)),
    "poll": ("one poll worker's", ("poll-0",)),
    "deliver": ("one deliver worker's", ("deliver-0",)),
    "all": ("the API's, a poll and a deliver worker's", ("api-0", "poll-0", "deliver-0")),
}


def step(scene: Scene, names: tuple[str, ...], seconds: float) -> None:
    """Steps the clocks, and back after a while."""
    for name in names:
        scene.clocks[name].step(seconds)
    scene.pause(HOLD_S)
    for name in names:
        scene.clocks[name].step(0)


def leap(scene: Scene, seconds: float) -> None:
    """Sets Redis' clock, for good."""
    scene.clocks["redis"].step(seconds)
    scene.pause(HOLD_S)


def jump(scene: Scene, names: tuple[str, ...]) -> None:
    """Steps the clocks to and fro."""
    for sign in (1, -1) * 5:
        for name in names:
            scene.clocks[name].step(sign * HOUR)
        scene.pause(0.5, 1.3)
    for name in names:
        scene.clocks[name].step(0)


STEPS = (
    ("redis", "20-s-back", -20),
    ("redis", "1-h-ahead", HOUR),
    ("redis", "1-h-back", -HOUR),
    ("redis", "1-day-ahead", DAY),
    ("redis", "1-day-back", -DAY),
    ("api", "1-day-ahead", DAY),
    ("poll", "1-h-ahead", HOUR),
    ("poll", "1-day-back", -DAY),
    ("deliver", "1-day-ahead", DAY),
    ("deliver", "1-h-back", -HOUR),
)
for label, text, seconds in STEPS:
    whose, names = WHOSE[label]
    define(
        GROUP,
        f"clock-of-{label}-{text}",
        f"{whose} clock steps {text.replace('-', ' ')} for 8 s",
        partial(step, names=names, seconds=seconds),
        setting=Setting(stepped=names, workers=2),
        recovers_s=RECOVERS_S,
        settle_s=SETTLE_S,
        quick=(label, text) == ("poll", "1-h-ahead"),
    )
for label in ("redis", "all"):
    whose, names = WHOSE[label]
    define(
        GROUP,
        f"clock-of-{label}-to-and-fro",
        f"{whose} clock jumps an hour to and fro for 9 s",
        partial(jump, names=names),
        setting=Setting(stepped=names, workers=2),
        recovers_s=RECOVERS_S,
        settle_s=SETTLE_S,
    )
for text, seconds in (("1-h-ahead", HOUR), ("1-h-back", -HOUR), ("1-day-ahead", DAY), ("1-day-back", -DAY)):
    define(
        GROUP,
        f"clock-of-redis-{text}-for-good",
        f"Redis' clock steps {text.replace('-', ' ')} and stays there",
        partial(leap, seconds=seconds),
        setting=Setting(stepped=("redis",), workers=2),
        recovers_s=RECOVERS_S,
        settle_s=SETTLE_S,
    )
