"""Poison: one bad value at a time in each kind of key. It costs its own record; deleting it heals the rest.

Names of keys are those of docs and of a look into Redis; a key of another name makes a fault that does nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.faults.answers import Answer
from tests.faults.catalog import define
from tests.faults.cph import new_id
from tests.faults.receiver import accept
from tests.faults.scene import VICTIM, Scene, Setting, quietly

GROUP = "poison"
HOLD_S = 8.0
HUGE = b"x" * 5_000_000
NOT_UTF8 = b"\xff\xfe\x00bad"
LEFT = 4  # jobs, deliveries and registrations of the victim that may stay counted once its records are gone

# Writes the bad value. Arguments: a client of Redis, the key, and what the victim's names stand for.
Plant = Callable[[Any, str, Mapping[str, str]], None]


@dataclass(frozen=True, slots=True)
class Poison:
    """heal: commands instead of deleting the key. shared: the key belongs to nobody, so that metrics must agree."""

    name: str
    key: str
    plant: Plant
    heal: Sequence[Sequence[str]] = ()
    shared: bool = False


def wrong_type(client: Any, key: str, _: Mapping[str, str]) -> None:
    was_text = client.type(key) == b"string"
    client.delete(key)
    client.lpush(key, "x") if was_text else client.set(key, "x")


def value(content: bytes) -> Plant:
    return lambda client, key, _: client.set(key, content)


def field(name: str, content: str | bytes) -> Plant:
    return lambda client, key, names: client.hset(key, name.format_map(names), content)


def without(name: str) -> Plant:
    return lambda client, key, _: client.hdel(key, name)


def command(*parts: str) -> Plant:
    """Runs commands after a wrong type: each is one text, with names of the victim."""

    def plant(client: Any, key: str, names: Mapping[str, str]) -> None:
        for part in parts:
            client.execute_command(*(word.format_map(names) for word in part.split("|")))

    return plant


def stray(kind: str, content: str) -> tuple[Plant, Sequence[Sequence[str]]]:
    """A lane of nobody whose hash, due or leased set is wrong, and which is due to be served."""
    lane = "stray https://x.example:443"
    return (
        command(f"SET|cph:deliver:{kind}:{lane}|{content}", f"ZADD|cph:deliver:lanes|1|{lane}"),
        (["DEL", f"cph:deliver:{kind}:{lane}"], ["ZREM", "cph:deliver:lanes", lane]),
    )


RECORD, PROGRESS, ENDS = "cph:{reg}", "cph:{reg}:progress", "cph:{reg}:ends"
WATCH, REQUEST, DELIVERY = "cph:watch:default:{job}", "cph:request:default:{request}", "cph:dlv:{dlv}"
OWN: tuple[tuple[str, str, Plant], ...] = (
    ("registration-wrong-type", RECORD, wrong_type),
    ("registration-broken-json", RECORD, value(b'{"sealed": ')),
    ("registration-other-json", RECORD, value(b'[1, "two"]')),
    ("registration-huge", RECORD, value(HUGE)),
    ("registration-not-utf-8", RECORD, value(NOT_UTF8)),
    ("progress-wrong-type", PROGRESS, wrong_type),
    ("progress-open-is-text", PROGRESS, field("open", "many")),
    ("progress-without-tenant", PROGRESS, without("tenant")),
    ("progress-without-project", PROGRESS, without("project")),
    ("progress-not-utf-8", PROGRESS, field("tenant", NOT_UTF8)),
    ("ends-wrong-type", ENDS, wrong_type),
    ("ends-broken-json", ENDS, field("{job}", "{")),
    ("watch-wrong-type", WATCH, wrong_type),
    ("watch-since-is-text", WATCH, field("since", "yesterday")),
    ("watch-without-since", WATCH, without("since")),
    ("watch-tenants-not-utf-8", WATCH, field("tenants", NOT_UTF8)),
    ("watch-huge", WATCH, field("operation", HUGE)),
    ("request-wrong-type", REQUEST, wrong_type),
    ("request-since-is-text", REQUEST, field("since", "yesterday")),
    ("request-cut-broken", REQUEST, field("cut", "{")),
    ("delivery-wrong-type", DELIVERY, wrong_type),
    ("delivery-about-broken-json", DELIVERY, field("about", "{")),
    ("delivery-without-registration", DELIVERY, without("registration")),
    ("delivery-without-lane", DELIVERY, without("lane")),
    ("delivery-attempts-is-text", DELIVERY, field("attempts", "many")),
    ("delivery-created-is-text", DELIVERY, field("created", "today")),
    ("delivery-huge", DELIVERY, field("about", HUGE)),
    ("delivery-not-utf-8", DELIVERY, field("about", NOT_UTF8)),
    ("attempts-wrong-type", "cph:dlv:{dlv}:attempts", wrong_type),
    ("attempts-broken-json", "cph:dlv:{dlv}:attempts", command("LPUSH|cph:dlv:{dlv}:attempts|{{")),
    ("delivery-registration-wrong-type", "cph:{failing}", wrong_type),
    ("delivery-progress-wrong-type", "cph:{failing}:progress", wrong_type),
    ("tenant-counts-wrong-type", "cph:tenant:victim", wrong_type),
    ("tenant-counts-are-text", "cph:tenant:victim", field("registrations", "many")),
    ("registrations-wrong-type", "cph:regs:victim", wrong_type),
    ("deliveries-wrong-type", "cph:dlvs:victim", wrong_type),
    ("destinations-wrong-type", "cph:dests:victim", wrong_type),
    ("gone-wrong-type", "cph:gone:victim", wrong_type),
    ("feed-wrong-type", "cph:events:victim", wrong_type),
    ("feed-entry-without-field", "cph:events:victim", command("XADD|cph:events:victim|*|other|1")),
    ("keys-wrong-type", "cph:keys:victim", wrong_type),
    ("tenant-due-wrong-type", "cph:poll:due:default:victim", wrong_type),
    ("lane-wrong-type", "cph:deliver:lane:{lane}", wrong_type),
    ("lane-tokens-are-text", "cph:deliver:lane:{lane}", field("tokens", "many")),
    ("lane-due-wrong-type", "cph:deliver:due:{lane}", wrong_type),
    ("lane-leased-wrong-type", "cph:deliver:leased:{lane}", wrong_type),
)
SHARED: tuple[Poison, ...] = (
    Poison(
        "stray-deadline",
        "cph:reg_x:progress",
        command("SET|cph:reg_x:progress|x", "ZADD|cph:deadlines|1|reg_x"),
        (["DEL", "cph:reg_x:progress"], ["ZREM", "cph:deadlines", "reg_x"]),
    ),
    *(Poison(f"stray-lane-{kind}", "", *stray(kind, "x")) for kind in ("lane", "due", "leased")),
    Poison(
        "stray-poll",
        "",
        command("SET|cph:watch:default:bad|x", "ZADD|cph:poll:due:default|1|bad"),
        (["DEL", "cph:watch:default:bad"], ["ZREM", "cph:poll:due:default", "bad"]),
    ),
    Poison(
        "stray-poll-of-a-request",
        "",
        command("SET|cph:request:default:bad|x", "ZADD|cph:poll:due:default|1|request:bad"),
        (["DEL", "cph:request:default:bad"], ["ZREM", "cph:poll:due:default", "request:bad"]),
    ),
    Poison(
        "stray-delivery",
        "",
        command("SET|cph:dlv:dlv_x|x", "ZADD|cph:deliver:due:{lane}|1|dlv_x"),
        (["DEL", "cph:dlv:dlv_x"], ["ZREM", "cph:deliver:due:{lane}", "dlv_x"]),
    ),
    Poison(
        "stray-dead",
        "",
        command("ZADD|cph:dead|1|dlv_x", "SET|cph:dlv:dlv_x|x"),
        (["ZREM", "cph:dead", "dlv_x"], ["DEL", "cph:dlv:dlv_x"]),
    ),
    Poison(
        "stray-lane-in-state",
        "",
        command("SADD|cph:lanes:failing|nonsense"),
        (["SREM", "cph:lanes:failing", "nonsense"],),
    ),
    Poison("counts-are-text", "cph:counts", field("watch:pending", "many"), (["HDEL", "cph:counts", "watch:pending"],)),
    Poison(
        "count-of-deliveries-is-text",
        "cph:counts",
        field("delivery:pending", "many"),
        (["HDEL", "cph:counts", "delivery:pending"],),
    ),
    Poison("project-wrong-type", "cph:project:default", wrong_type),
    Poison("project-is-text", "cph:project:default", field("answered", "never")),
    Poison("durations-wrong-type", "cph:durations:default:", wrong_type),
    Poison("durations-are-text", "cph:durations:default:", field("3", "many")),
    Poison("poll-lane-wrong-type", "cph:poll:lane:default", wrong_type),
    Poison("poll-lane-is-text", "cph:poll:lane:default", field("tokens", "many")),
    Poison("turns-wrong-type", "cph:poll:turns:default", wrong_type),
    Poison("lock-wrong-type", "cph:lock:dispatcher", wrong_type),
    Poison("wake-wrong-type", "cph:wake:poll", wrong_type),
    Poison("wake-of-deliveries-wrong-type", "cph:wake:deliver", wrong_type),
    Poison("rq-queue-nonsense", "rq:queue:cph-poll", command("LPUSH|rq:queue:cph-poll|nonsense")),
    Poison("rq-queue-wrong-type", "rq:queue:cph-deliver", wrong_type),
)


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


for name, key, plant in OWN:
    own = Poison(name, key, plant)
    define(
        GROUP,
        f"bad-{name}",
        f"{key} of one registration or tenant: {name}, deleted after 8 s",
        partial(poison, bad=own),
        setting=Setting(victim=True, workers=1),
        goes_on=True,
        poisoned=LEFT,
        quick=name == "progress-wrong-type",
    )
for shared in SHARED:
    define(
        GROUP,
        f"bad-{shared.name}",
        f"{shared.key or 'a key of nobody'}: {shared.name}, undone after 8 s",
        partial(poison, bad=shared),
        setting=Setting(victim=True, workers=1),
        goes_on=True,
        poisoned=0,
        quick=shared.name == "stray-deadline",
    )
