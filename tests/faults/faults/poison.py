"""Poison: one bad value at a time in each kind of key. It costs its own record; deleting it heals the rest.

Names of keys are those of docs and of a look into Redis; a key of another name makes a fault that does nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rq import Queue, Worker
from rq.command import send_shutdown_command
from rq.serializers import JSONSerializer

from tests.faults.answers import Answer
from tests.faults.catalog import define, fault
from tests.faults.cph import new_id
from tests.faults.judge import Breach
from tests.faults.receiver import accept
from tests.faults.scene import VICTIM, Scene, Setting, quietly

GROUP = "poison"
HOLD_S = 7.0
HUGE = b"x" * 5_000_000
NOT_UTF8 = b"\xff\xfe\x00bad"
UNREADABLE = r'"level": "error", "event": "record\.unreadable"'
TOLD = ("progress-wrong-type", "watch-wrong-type", "rq-queue-wrong-type")
LEFT = 4  # jobs, deliveries and registrations of the victim that may stay counted once its records are gone

# Writes the bad value. Arguments: a client of Redis, the key, and what the victim's names stand for.
Plant = Callable[[Any, str, Mapping[str, str]], None]


@dataclass(frozen=True, slots=True)
class Poison:
    """heal: commands instead of deleting the key."""

    key: str
    plant: Plant
    heal: Sequence[Sequence[str]] = ()


def wrong_type(client: Any, key: str, _: Mapping[str, str]) -> None:
    was_text = client.type(key) == b"string"
    client.delete(key)
    client.lpush(key, "x") if was_text else client.set(key, "x")


def value(content: bytes) -> Plant:
    return lambda client, key, _: client.set(key, content)


def field(name: str, content: str | bytes) -> Plant:
    return lambda client, key, names: client.hset(key, name.format_map(names), content)


def command(*parts: str) -> Plant:
    """Runs commands: each is one text, with names of the victim."""

    def plant(client: Any, key: str, names: Mapping[str, str]) -> None:
        for part in parts:
            client.execute_command(*(word.format_map(names) for word in part.split("|")))

    return plant


def stray(key: str, content: str, agenda: str, member: str) -> Poison:
    """A bad key of nobody, of which an agenda says that it is due."""
    return Poison(
        key, command(f"SET|{key}|{content}", f"ZADD|{agenda}|1|{member}"), (["DEL", key], ["ZREM", agenda, member])
    )


STRAY_LANE = "stray https://x.example:443"
RECORD, PROGRESS, ENDS = "cph:{reg}", "cph:{reg}:progress", "cph:{reg}:ends"
WATCH, REQUEST, DELIVERY = "cph:watch:default:{job}", "cph:request:default:{request}", "cph:dlv:{dlv}"
OWN: Mapping[str, Poison] = {
    "registration-broken-json": Poison(RECORD, value(b'{"sealed": ')),
    "registration-other-json": Poison(RECORD, value(b'[1, "two"]')),
    "progress-wrong-type": Poison(PROGRESS, wrong_type),
    "progress-not-utf-8": Poison(PROGRESS, field("tenant", NOT_UTF8)),
    "ends-broken-json": Poison(ENDS, field("{job}", "{")),
    "watch-wrong-type": Poison(WATCH, wrong_type),
    "watch-since-is-text": Poison(WATCH, field("since", "yesterday")),
    "delivery-wrong-type": Poison(DELIVERY, wrong_type),
    "delivery-about-broken-json": Poison(DELIVERY, field("about", "{")),
    "delivery-huge": Poison(DELIVERY, field("about", HUGE)),
    "attempts-broken-json": Poison("cph:dlv:{dlv}:attempts", command("LPUSH|cph:dlv:{dlv}:attempts|{{")),
    "tenant-counts-are-text": Poison("cph:tenant:victim", field("registrations", "many")),
    "feed-entry-without-field": Poison("cph:events:victim", command("XADD|cph:events:victim|*|other|1")),
    "lane-due-wrong-type": Poison("cph:deliver:due:{lane}", wrong_type),
}
SHARED: Mapping[str, Poison] = {
    "stray-deadline": stray("cph:reg_x:progress", "x", "cph:deadlines", "reg_x"),
    "stray-lane": stray(f"cph:deliver:lane:{STRAY_LANE}", "x", "cph:deliver:lanes", STRAY_LANE),
    "stray-due": stray(f"cph:deliver:due:{STRAY_LANE}", "x", "cph:deliver:lanes", STRAY_LANE),
    "stray-delivery": stray("cph:dlv:dlv_x", "x", "cph:deliver:due:{lane}", "dlv_x"),
    "counts-are-text": Poison("cph:counts", field("watch:pending", "many"), (["HDEL", "cph:counts", "watch:pending"],)),
    "poll-lane-is-text": Poison("cph:poll:lane:default", field("tokens", "many")),
    "lock-wrong-type": Poison("cph:lock:dispatcher", wrong_type),
    "rq-queue-wrong-type": Poison("rq:queue:cph-deliver", wrong_type),
}


def poison(scene: Scene, bad: Poison) -> None:
    """A victim waits for a group of jobs, and for a callback that its receiver refuses; then one value goes bad."""
    other = scene.neighbour(lambda _: Answer(503))
    request = new_id()
    jobs = [scene.cph.start(runs_s=5, request_id=request) for _ in range(2)]
    group = scene.load.register(VICTIM, jobs, notify="both", whole_request=True, bystander=False, url=other.url)
    failing = scene.load.register(VICTIM, [scene.cph.start(runs_s=0)], bystander=False, url=other.url)
    scene.pause(2)
    with scene.client() as client:
        deliveries = client.zrange("cph:dlvs:victim", 0, -1)
        names = {
            "reg": group.id,
            "job": jobs[0].job_id,
            "request": request,
            "failing": failing.id,
            "dlv": deliveries[0].decode().split(":")[-1] if deliveries else "dlv_none",
            "lane": f"victim http://127.0.0.1:{other.server.port}",
        }
        bad.plant(client, bad.key.format_map(names), names)
        scene.pause(HOLD_S)
        other.behave = accept
        for heal in bad.heal or (["DEL", bad.key],):
            quietly(client.execute_command, *(part.format_map(names) for part in heal))


for name, bad in (*OWN.items(), *SHARED.items()):
    define(
        GROUP,
        f"bad-{name}",
        f"{bad.key}: {name}, undone after 7 s",
        partial(poison, bad=bad),
        setting=Setting(victim=True),
        goes_on=True,
        poisoned=LEFT if name in OWN else 0,
        damages=True,
        told=UNREADABLE if name in TOLD else "",
        quick=name == "progress-wrong-type",
    )


@fault(GROUP, "somebody enqueues RQ jobs of their own, and tells all workers by PUBLISH to end", goes_on=True)
def rq_forged(scene: Scene) -> Sequence[Breach]:
    trace = scene.folder / "forged"
    with scene.client() as client:
        for _ in range(5):
            for queue in ("cph-poll", "cph-deliver"):
                target = Queue(queue, connection=client, serializer=JSONSerializer)
                target.enqueue("os.mkdir", str(trace))
                target.enqueue("workers.drain.drain", "deliver")
            for worker in Worker.all(client, serializer=JSONSerializer):
                send_shutdown_command(client, worker.name)
            scene.pause(1)
    ran = [f"{trace} was made"] if trace.exists() else []
    ran += [
        f"{log} delivers"
        for log in ("poll-0.log",)
        if "delivery.attempted" in (scene.logs / log).read_text(encoding="utf-8")
    ]
    return [Breach("runs what others enqueue", len(ran), tuple(ran))] if ran else []
