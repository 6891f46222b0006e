"""Faults of subscribers' servers."""

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

from tests.faults.answers import Answer
from tests.faults.catalog import define, fault
from tests.faults.judge import Breach
from tests.faults.receiver import Behaviour, accept, alternating, answering
from tests.faults.scene import VICTIM, Scene, Setting

GROUP = "receivers"
OPTIONS: dict[str, Any] = {"recovers_s": 20, "settle_s": 90}
HEAD = b"HTTP/1.1 200 OK\r\nX-Large: "


def behaves(scene: Scene, behaviour: Behaviour) -> None:
    scene.receiver.behave = behaviour
    scene.pause(5)
    scene.calm_receiver()


BEHAVIOURS: tuple[tuple[str, str, Behaviour], ...] = (
    (
        "receiver-fails-half",
        "answers half of the calls with 408, 500, 503 or nonsense in Retry-After",
        lambda request: random.choice(
            [accept(request)] * 4
            + [Answer(408), Answer(500), Answer(503), Answer(503, headers={"Retry-After": "soon\x7f"})]
        ),
    ),
    ("receiver-429", "answers 429 with Retry-After: 3", answering(status=429, headers={"Retry-After": "3"})),
    ("receiver-silent", "does not answer", answering(silent=True)),
    ("receiver-drips", "answers a byte every 0.2 s", answering(status=500, body=b"x" * 100, drip_s=0.2)),
    (
        "receiver-garbage",
        "answers with bytes that are no HTTP, 103 again and again, or a head of 300 KB",
        lambda _: Answer(
            raw=random.choice(
                [
                    b"\x16\x03\x01garbage\r\n\r\n",
                    b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50,
                    HEAD + b"a" * 300_000 + b"\r\n\r\n",
                ]
            )
        ),
    ),
    (
        "receiver-endless",
        "answers 500 with a body that never ends, or ends too soon",
        lambda _: random.choice([Answer(500, b"y" * 4096, endless=True), Answer(500, b"z" * 100, cut=50)]),
    ),
    ("receiver-flaps", "accepts and resets in turns of 0.5 s", alternating(0.5, accept, answering(reset=True))),
)
for name, text, behaviour in BEHAVIOURS:
    define(GROUP, name, f"{text}, for 5 s", partial(behaves, behaviour=behaviour), **OPTIONS)


@fault(GROUP, "refuses connections for 4 s", quick=True, **OPTIONS)
def receiver_down(scene: Scene) -> None:
    scene.receiver.server.down()
    scene.pause(4)
    scene.receiver.server.up()


@fault(GROUP, "closes all kept-alive connections every 0.1 s for 5 s", **OPTIONS)
def receiver_drops_kept_alive(scene: Scene) -> None:
    for _ in range(50):
        scene.receiver.server.drop_connections()
        scene.pause(0.1)


def neighbour(scene: Scene, behaviour: Behaviour) -> None:
    """Another tenant's receiver behaves so for good; that tenant registers some finished jobs."""
    other = scene.neighbour(behaviour)
    for _ in range(20):
        job = scene.cph.start(runs_s=0)
        scene.load.register(VICTIM, [job], bystander=False, url=other.url, tries=1)
    scene.pause(5)
    other.behave = accept


TO_A_VICTIM: dict[str, Any] = {"setting": Setting(victim=True), "prompt": True, "goes_on": True, "settle_s": 90}
NEIGHBOURS: tuple[tuple[str, str, Behaviour], ...] = (
    ("neighbour-gone", "answers 410", answering(status=410)),
    ("neighbour-silent", "does not answer", answering(silent=True)),
)
for name, text, behaviour in NEIGHBOURS:
    define(
        GROUP,
        name,
        f"another tenant's receiver {text}; ours are unharmed",
        partial(neighbour, behaviour=behaviour),
        **TO_A_VICTIM,
    )


@fault(GROUP, "another tenant's receiver redirects to ours, which is not followed", **TO_A_VICTIM)
def neighbour_redirects(scene: Scene) -> Sequence[Breach]:
    neighbour(scene, answering(status=302, headers={"Location": f"{scene.receiver.url}/redirected"}))
    followed = [callback.id for callback in scene.receiver.callbacks() if callback.path == "/redirected"]
    return [Breach("redirect followed", len(followed), tuple(followed))] if followed else []
