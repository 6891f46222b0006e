"""Faults of the way to Redis."""

from functools import partial
from typing import Any

from tests.faults.catalog import define, fault
from tests.faults.proxy import CALM, Way
from tests.faults.scene import Scene, Setting

GROUP = "way"
PROXIED = Setting(proxied=True)


def lead(scene: Scene, *, there: Way = CALM, back: Way = CALM, cut: bool = True) -> None:
    """cut: closes all connections afterwards, as a network that comes back does sooner or later."""
    scene.proxy.there, scene.proxy.back = there, back
    scene.pause(5)
    scene.proxy.calm()
    if cut:
        scene.proxy.cut_all()


WAYS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("way-slow", "500 ms more back", {"back": Way(delay_s=0.5), "cut": False}),
    ("way-split", "7 bytes at a time both ways", {"there": Way(split=7), "back": Way(split=7), "cut": False}),
    ("way-cut-back", "5 % of answers are lost with their connection", {"back": Way(cut=0.05)}),
    ("way-halved-there", "5 % of requests arrive by half", {"there": Way(halve=0.05)}),
    ("way-swallows-requests", "requests vanish", {"there": Way(swallowed=True)}),
    ("way-swallows-answers", "answers vanish", {"back": Way(swallowed=True)}),
    (
        "way-held",
        "nothing moves, then all arrives late",
        {"there": Way(held=True), "back": Way(held=True), "cut": False},
    ),
    (
        "way-all-at-once",
        "slow, split, cut and halved",
        {"there": Way(0.02, 50, 0.02, 0.02), "back": Way(0.02, 50, 0.02, 0.02)},
    ),
)
for name, text, ways in WAYS:
    define(
        GROUP,
        name,
        f"{text}, for 5 s",
        partial(lead, **ways),
        setting=PROXIED,
        quick=name == "way-cut-back",
        recovers_s=20,
    )


@fault(GROUP, "connections are refused and open in turns, every 0.4 s for 6 s", setting=PROXIED)
def way_flaps(scene: Scene) -> None:
    for _ in range(8):
        scene.proxy.there = Way(refuse=True)
        scene.proxy.cut_all()
        scene.pause(0.4)
        scene.proxy.calm()
        scene.pause(0.4)
