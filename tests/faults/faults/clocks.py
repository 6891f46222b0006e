"""Faults of clocks: the wall clock of one process, or of Redis, steps."""

from functools import partial

from tests.faults.catalog import define
from tests.faults.scene import Scene, Setting

GROUP = "clocks"
HOLD_S = 10.0
STEPS = {"20-s": 20, "1-h": 3_600, "1-day": 86_400}
PROCESSES = ("api-0", "poll-0", "deliver-0")


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


def jump(scene: Scene, names: tuple[str, ...], seconds: float) -> None:
    """Steps the clocks to and fro."""
    for sign in (1, -1) * 5:
        for name in names:
            scene.clocks[name].step(sign * seconds)
        scene.pause(0.5, 1.5)
    for name in names:
        scene.clocks[name].step(0)


def add(label: str, names: tuple[str, ...], whose: str) -> None:
    setting = Setting(stepped=names, workers=2)
    for text, seconds in STEPS.items():
        if text == "20-s" and names != ("redis",):
            continue
        for sign, word in ((1, "ahead"), (-1, "back")):
            define(
                GROUP,
                f"clock-of-{label}-{text}-{word}",
                f"{whose} clock steps {text.replace('-', ' ')} {word} for 10 s",
                partial(step, names=names, seconds=sign * seconds),
                setting=setting,
                recovers_s=30,
                settle_s=60,
                quick=(label, text, word) == ("poll", "1-h", "ahead"),
            )
    define(
        GROUP,
        f"clock-of-{label}-to-and-fro",
        f"{whose} clock jumps an hour to and fro for 10 s",
        partial(jump, names=names, seconds=3_600),
        setting=setting,
        recovers_s=30,
        settle_s=60,
    )


for text, seconds in STEPS.items():
    for sign, word in ((1, "ahead"), (-1, "back")):
        define(
            GROUP,
            f"clock-of-redis-{text}-{word}-for-good",
            f"Redis' clock steps {text.replace('-', ' ')} {word} and stays there",
            partial(leap, seconds=sign * seconds),
            setting=Setting(stepped=("redis",), workers=2),
            recovers_s=30,
            settle_s=60,
        )
add("redis", ("redis",), "Redis'")
add("api", PROCESSES[:1], "the API's")
add("poll", PROCESSES[1:2], "one poll worker's")
add("deliver", PROCESSES[2:], "one deliver worker's")
add("all", PROCESSES, "the API's, a poll and a deliver worker's")
