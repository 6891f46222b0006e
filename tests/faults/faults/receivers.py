"""Faults of subscribers' servers."""

import random
from functools import partial
from typing import Any

from tests.faults.answers import Answer
from tests.faults.catalog import define, fault
from tests.faults.receiver import Behaviour, accept, alternating, answering
from tests.faults.scene import VICTIM, Scene, Setting

GROUP = "receivers"
OPTIONS: dict[str, Any] = {"recovers_s": 20, "settle_s": 90}


def behaves(scene: Scene, behaviour: Behaviour, seconds: float = 5) -> None:
    scene.receiver.behave = behaviour
    scene.pause(seconds)
    scene.calm_receiver()


BEHAVIOURS: tuple[tuple[str, str, Behaviour], ...] = (
    ("receiver-500", "answers 500", answering(status=500)),
    ("receiver-503", "answers 503", answering(status=503)),
    ("receiver-429", "answers 429 with Retry-After: 3", answering(status=429, headers={"Retry-After": "3"})),
    ("receiver-408", "answers 408", answering(status=408)),
    (
        "receiver-odd-retry-after",
        "answers 503 with a Retry-After that is none",
        answering(status=503, headers={"Retry-After": "soon\x7f"}),
    ),
    ("receiver-slow", "answers after 2 s", answering(wait_s=2.0)),
    ("receiver-silent", "does not answer", answering(silent=True)),
    ("receiver-drips", "answers a byte every 0.2 s", answering(status=500, body=b"x" * 100, drip_s=0.2)),
    ("receiver-resets", "resets each connection", answering(reset=True)),
    ("receiver-garbage", "answers with bytes that are no HTTP", answering(raw=b"\x16\x03\x01garbage\r\n\r\n")),
    (
        "receiver-huge-head",
        "answers with a head of 300 KB",
        answering(raw=b"HTTP/1.1 200 OK\r\n" + b"X-Large: " + b"a" * 300_000 + b"\r\n\r\n"),
    ),
    (
        "receiver-endless",
        "answers 500 with a body that never ends",
        answering(status=500, body=b"y" * 4096, endless=True),
    ),
    ("receiver-wrong-length", "closes after half of a 500's body", answering(status=500, body=b"z" * 100, cut=50)),
    ("receiver-closes", "closes each connection after its answer", answering(close=True)),
    (
        "receiver-fails-half",
        "answers half of the calls with 500",
        lambda request: Answer(500) if random.random() < 0.5 else accept(request),
    ),
    ("receiver-flaps", "accepts and resets in turns of 0.5 s", alternating(0.5, accept, answering(reset=True))),
    (
        "receiver-1xx",
        "answers 100 and 103 again and again, then nothing",
        answering(raw=b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50),
    ),
)
for name, text, behaviour in BEHAVIOURS:
    define(
        GROUP,
        name,
        f"{text}, for 5 s",
        partial(behaves, behaviour=behaviour),
        **OPTIONS,
    )


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


def neighbour(scene: Scene, behaviour: Behaviour, count: int = 20) -> None:
    """Another tenant's receiver behaves so for good; that tenant registers some finished jobs."""
    other = scene.neighbour(behaviour)
    for _ in range(count):
        job = scene.cph.start(runs_s=0)
        scene.load.register(VICTIM, [job], bystander=False, url=other.url, tries=1)
    scene.pause(6)
    other.behave = accept


NEIGHBOURS: tuple[tuple[str, str, Behaviour], ...] = (
    (
        "neighbour-redirects",
        "redirects to a private address",
        answering(status=302, headers={"Location": "http://127.0.0.1:6379/"}),
    ),
    ("neighbour-gone", "answers 410", answering(status=410)),
    ("neighbour-404", "answers 404", answering(status=404)),
    ("neighbour-silent", "does not answer", answering(silent=True)),
    ("neighbour-endless", "answers with a body that never ends", answering(status=200, body=b"y" * 4096, endless=True)),
    ("neighbour-drips", "answers a byte every 0.2 s", answering(status=200, body=b"x" * 100, drip_s=0.2)),
)
for name, text, behaviour in NEIGHBOURS:
    define(
        GROUP,
        name,
        f"another tenant's receiver {text}; ours are unharmed",
        partial(neighbour, behaviour=behaviour),
        setting=Setting(victim=True),
        prompt=True,
        goes_on=True,
        settle_s=90,
    )
