"""Faults by tenants: floods, of which the others must notice nothing."""

import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from tests.faults.answers import HOST
from tests.faults.catalog import define, fault
from tests.faults.cph import new_id
from tests.faults.judge import Breach
from tests.faults.receiver import accept, answering
from tests.faults.scene import VICTIM, Scene, Setting

GROUP = "tenants"
CALM: dict[str, Any] = {"prompt": True, "goes_on": True, "settle_s": 90}
FLOODED = Setting(victim=True)
HALF_A_BODY = (
    b"POST /v1/registrations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n{"
)
TEMPLATE = (
    "{% for n in range(event.data.metadata.n | default(1) | int) %}{% for m in range(event.data.metadata.n | default(1)"
    " | int) %}{% endfor %}{% endfor %}{}"
)


def at_once(count: int, action: Callable[[int], object], threads: int = 8) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(action, range(count)))


def call(scene: Scene, method: str, path: str, body: object = None) -> int:
    return scene.load.call(VICTIM, method, path, body).status


@fault(
    GROUP,
    "three registrations of 1,000 ids that do not exist; 20 calls to CPH a second",
    setting=Setting(victim=True, variables={"BRIDGE_CPH_RATE": "20", "BRIDGE_LOST_GRACE_S": "10"}),
    **CALM,
)
def flood_of_unknown_jobs(scene: Scene) -> None:
    ids: list[str] = []
    for _ in range(3):
        reply = scene.load.call(VICTIM, "POST", "/v1/registrations", {"job_ids": [new_id() for _ in range(1000)]})
        ids += [reply.body["id"]] if reply.ok else []
    scene.pause(15)
    for id in ids:
        call(scene, "DELETE", f"/v1/registrations/{id}")


def silent_destinations(scene: Scene, count: int, events: int) -> None:
    silent = scene.neighbour(answering(silent=True))
    jobs = [scene.cph.start(runs_s=0) for _ in range(events)]
    at_once(
        count,
        lambda n: call(
            scene,
            "POST",
            "/v1/registrations",
            {
                "job_ids": [job.job_id for job in jobs],
                "deadline_s": 60,
                "callback_url": f"http://127.1.{n // 200}.{n % 200 + 1}:{silent.server.port}/",
            },
        ),
    )
    scene.pause(10)
    silent.behave = accept
    silent.server.drop_connections()


define(
    GROUP,
    "60-silent-destinations",
    "60 destinations that accept and never answer, six events each",
    partial(silent_destinations, count=60, events=6),
    setting=FLOODED,
    **{**CALM, "settle_s": 150},
)


@fault(GROUP, "1,500 jobs that have ended, to one receiver", setting=FLOODED, **CALM)
def flood_of_ended_jobs(scene: Scene) -> None:
    other = scene.neighbour(accept)
    for _ in range(3):
        request = new_id()
        ids = [scene.cph.start(runs_s=0, request_id=request).job_id for _ in range(500)]
        call(scene, "POST", "/v1/registrations", {"job_ids": ids, "callback_url": f"{other.url}/"})
    scene.pause(10)


@fault(
    GROUP,
    "a tenant at its quota of registrations goes on registering",
    setting=Setting(victim=True, variables={"BRIDGE_QUOTA_REGISTRATIONS": "100"}),
    **CALM,
)
def quota_of_registrations(scene: Scene) -> None:
    ids: list[str] = []

    def register(_: int) -> None:
        reply = scene.load.call(VICTIM, "POST", "/v1/registrations", {"job_id": new_id()})
        ids.extend([reply.body["id"]] if reply.ok else [])

    at_once(300, register)
    at_once(len(ids), lambda n: call(scene, "DELETE", f"/v1/registrations/{ids[n]}"))
    scene.pause(3)


@fault(GROUP, "60 calls of one tenant wait for events for 10 s", setting=FLOODED, **CALM)
def flood_of_waiting_calls(scene: Scene) -> None:
    at_once(60, lambda _: call(scene, "GET", "/v1/events?after=latest&wait_s=8"), threads=60)


def hold_connections(scene: Scene, head: bytes, count: int, seconds: float) -> None:
    """Opens connections to the API without a key, and sends a byte of a request on each now and then."""
    open_ones: list[socket.socket] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(OSError):
            if len(open_ones) < count:
                open_ones += [socket.create_connection((HOST, scene.api.port), 1) for _ in range(20)]
                for connection in open_ones[-20:]:
                    connection.sendall(head)
        for connection in open_ones:
            with suppress(OSError):
                connection.sendall(b"a")
        scene.pause(0.5)
    for connection in open_ones:
        connection.close()


define(
    GROUP,
    "dripping-heads",
    "100 connections drip half a head into the API, without a key, for 12 s",
    partial(hold_connections, head=b"GET /v1/events HTTP/1.1\r\nX-Drip: ", count=100, seconds=12),
    quick=True,
    **CALM,
)
define(
    GROUP,
    "dripping-bodies",
    "100 connections drip half a body into the API, without a key, for 12 s",
    partial(hold_connections, count=100, seconds=12, head=HALF_A_BODY),
    **CALM,
)


@fault(GROUP, "200 bodies of 300 KB", setting=FLOODED, **CALM)
def flood_of_huge_bodies(scene: Scene) -> None:
    at_once(200, lambda _: call(scene, "POST", "/v1/registrations", {"job_id": "x" * 300_000}))


@fault(GROUP, "150 registrations are made and cancelled at once, again and again", setting=FLOODED, **CALM)
def flood_of_cancels(scene: Scene) -> None:
    def make_and_cancel(_: int) -> None:
        job = scene.cph.start(runs_s=0.1)
        order = scene.load.register(VICTIM, [job], bystander=False, tries=1)
        if order.id:
            scene.load.cancel(order)

    at_once(150, make_and_cancel)


@fault(
    GROUP,
    "a template runs without end on one tenant's metadata, eight times",
    setting=Setting(
        victim=True,
        variables={"BRIDGE_TEMPLATES_DIR": "{folder}/templates"},
        files={"templates/loop.json.j2": TEMPLATE},
    ),
    **{**CALM, "settle_s": 120},
)
def endless_template(scene: Scene) -> None:
    other = scene.neighbour(accept)
    for _ in range(8):
        job = scene.cph.start(runs_s=0)
        call(
            scene,
            "POST",
            "/v1/registrations",
            {
                "job_id": job.job_id,
                "callback_url": f"{other.url}/",
                "format": "template:loop",
                "metadata": {"n": 90_000},
            },
        )
    scene.pause(15)


@fault(GROUP, "a key is revoked while its calls wait: they are answered 401 within 5 s", setting=FLOODED)
def revoked_key_waits(scene: Scene) -> Sequence[Breach]:
    """The victim has no admin key, so the first tenant makes one, and revokes it."""
    made = scene.load.call(
        "default", "POST", "/v1/keys", {"name": "short-lived", "scopes": ["registrations:read"]}
    ).body
    late: list[str] = []

    def wait(_: int) -> None:
        reply = scene.api.call(made["key"], "GET", "/v1/registrations/reg_unknown", timeout=40)
        reply = scene.api.call(made["key"], "GET", "/v1/events?after=latest&wait_s=20", timeout=40)
        if reply.ok and reply.body["items"] and time.monotonic() > revoked + 5.5:
            late.append(f"answered {reply.status} with events {time.monotonic() - revoked:.1f} s after its end")

    with ThreadPoolExecutor(1) as pool:
        revoked = time.monotonic() + 60
        waiting = pool.submit(wait, 0)
        scene.pause(0.5)
        scene.load.call("default", "DELETE", f"/v1/keys/{made['id']}")
        revoked = time.monotonic()
        waiting.result()
    return [Breach("revoked key is answered", len(late), tuple(late))] if late else []


ODD_REQUESTS: tuple[tuple[str, str, dict[str, str], object, frozenset[int]], ...] = (
    ("GET", "//v1/keys", {}, None, frozenset({404})),
    ("GET", "/x/v1/keys", {"SCRIPT_NAME": "/x"}, None, frozenset({404})),
    ("GET", f"/v1/events?after={2**64 - 1}-{2**64 - 1}", {}, None, frozenset({422})),
    ("GET", "/v1/events?after=%00&limit=-1", {}, None, frozenset({404, 422})),
    ("POST", "/v1/registrations", {}, {"job_id": "\ud800", "metadata": {"a": "\ud800"}}, frozenset({400, 422})),
    ("POST", "/v1/registrations", {}, [[[[[[]]]]]] * 1000, frozenset({400, 422})),
    ("DELETE", "/v1/registrations/" + "x" * 3000, {}, None, frozenset({404, 414, 422})),
)


@fault(GROUP, "paths, cursors and bodies that are none, 30 times each: refused, and never with 500", prompt=True)
def odd_requests(scene: Scene) -> Sequence[Breach]:
    wrong: list[str] = []
    for method, path, headers, body, allowed in ODD_REQUESTS * 30:
        status = scene.api.call(scene.key, method, path, body, headers).status
        if status not in allowed:
            wrong.append(f"{method} {path[:40]} is answered {status}")
    return [Breach("odd request", len(wrong), tuple(wrong[:5]))] if wrong else []
