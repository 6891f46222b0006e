"""Damages one record at a time, and lets the bridge work on: its real stores, workers, dispatcher and API.

Two tenants have the same work. What is damaged belongs to one of them, the victim, or to nobody.
"""

import inspect
import json
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from app.domain.access import Scope
from app.domain.job import JobState
from app.domain.times import to_ms
from app.store.agenda import DELIVER, POLL
from app.store.deployment_stats import DeploymentStatsReader
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall
from app.store.handshakes import Handshakes
from tests.simulate.bridge import PROJECT, SimulatedBridge
from tests.simulate.world import Post, Receivers, SimulatedCloud
from tests.support.api_client import ApiCaller

VICTIM, OTHER = "victim", "other"
TENANTS = (VICTIM, OTHER)
GOOD, FAILING, GONE, PAUSED = (f"http://127.0.0.1:{port}/hook" for port in (1, 2, 3, 4))
HUGE, NOT_UTF8 = b"x" * 2_000_000, b"\xff\xfe\x00bad"
TEXTS = (b"", b"many", b"-1", b"1e400", b"99999999999999999999", b"{", b"[1]", NOT_UTF8)
SCORES = (float("-inf"), float("inf"), 1e300, -1.0)
ROUNDS, ROUND = 40, timedelta(minutes=2)
# Fields that the hash of a lane may have: all are damaged, also those that it does not have.
LANE_FIELDS = (
    b"not_before tokens stamp learned learned_at passed refusals refused_since refused_at rate places most failures"
    b" failing_since failed answered halved_at run redelivery"
).split()
# Keys that are not in Redis while a test looks, or are no records of ours.
ABSENT = {
    *("aside", "held", "fit", "rq_fit", "rq_fit_channel", "lock", "wake", "rq_queue", "rq_workers"),
    "unreadable",
    "token",
    "clock",
    "clock_leaps",
}

Raw = Any  # a client that reads and writes bytes
Test = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Damage:
    """key, how: what is damaged, and how. write: does it."""

    key: bytes
    how: str
    write: Callable[[Raw], object]

    def __str__(self) -> str:
        return f"{self.key.decode(errors='replace')} {self.how}"


class Recorder:
    """Keeps what receivers get: by tenant, type of event and job."""

    def __init__(self) -> None:
        self.posts: set[tuple[str, str, str | None]] = set()

    def received(self, post: Post) -> None:
        body = json.loads(post.body)
        job = body["data"].get("job") or {}
        self.posts.add((post.tenant, body["type"], job.get("job_id")))

    def attempt_is_over(self, event: str) -> None:
        del event


class DamagedBridge:
    """A bridge with work of every kind. `restore` makes it as it was."""

    def __init__(self, bridge: SimulatedBridge, raw: Raw) -> None:
        self.bridge, self.raw = bridge, raw
        bridge.reset()
        bridge.gate.reset(lambda _: None)
        self.api = ApiCaller(bridge.runtime)
        self.api_keys = {
            tenant: bridge.stores.api_keys.create(tenant, frozenset(Scope), bridge.clock()) for tenant in TENANTS
        }
        self.states: dict[str, JobState] = {}
        self._start()
        for tenant in TENANTS:
            self._fill(tenant)
        self.rounds(2)
        bridge.stores.data_marker.check(bridge.clock())
        handshakes = Handshakes(bridge.stores.scripts, bridge.stores.cipher, bridge.stores.deliveries_due)
        handshakes.remember(VICTIM, GOOD, f"{VICTIM} {GOOD[:-5]}", None)
        bridge.stores.scripts.run(bridge.stores.durations.record(PROJECT, None, [timedelta(seconds=9)]))
        report = ScriptCall("report_clock", machine="here", ahead=9_000, now=to_ms(bridge.clock()))
        bridge.stores.scripts.run(report)
        for tenant in TENANTS:
            self.states[f"{tenant}-claimed"] = JobState.SUCCEEDED
            self.register(tenant, "claimed")
        self.workers[POLL].turn(claims=True)  # and it dies
        self.now = bridge.clock.now
        self._saved = [(name, max(raw.pttl(name), 0), raw.dump(name)) for name in raw.keys("*")]
        self.expected = {
            (tenant, *event)
            for tenant in TENANTS
            for event in [
                ("group.finished", None),
                *(("job.succeeded", f"{tenant}-{job}") for job in ("late", "listed", "refused", "claimed")),
            ]
        }

    def restore(self) -> None:
        self.bridge.reset()
        for name, ttl, dump in self._saved:
            self.raw.restore(name, ttl, dump)
        self.bridge.clock.now = self.now
        self.bridge.stores.api_keys._cache.clear()
        self._start()
        self.receivers.modes[FAILING] = "ok"
        for tenant in TENANTS:
            for job in ("late", "listed"):
                self.states[f"{tenant}-{job}"] = JobState.SUCCEEDED

    def _start(self) -> None:
        bridge = self.bridge
        self.recorder = Recorder()
        receivers = Receivers(bridge.gate, bridge.clock, self.recorder)
        receivers.modes = {GOOD: "ok", FAILING: "500", GONE: "410", PAUSED: "ok"}
        self.receivers = receivers
        requests = {f"{tenant}-{job}": f"{tenant}-request" for tenant in TENANTS for job in ("listed", "also-listed")}
        self.cloud = SimulatedCloud(bridge.gate, bridge.clock, states=self.states, request_of=requests)
        self.workers = {POLL: bridge.poll_worker(self.cloud), DELIVER: bridge.deliver_worker(receivers)}

    def _fill(self, tenant: str) -> None:
        running, ended = JobState.RUNNING, JobState.SUCCEEDED
        self.states |= {f"{tenant}-late": running, f"{tenant}-listed": running, f"{tenant}-also-listed": ended}
        self.states |= {f"{tenant}-{job}": ended for job in ("delivered", "refused", "gone", "paused", "pulled")}
        register = partial(self.register, tenant)
        register("delivered")
        register("late")
        register("refused", callback_url=FAILING)
        register("gone", callback_url=GONE)
        register("paused", callback_url=PAUSED)
        self.bridge.runtime.destinations.pause(f"{tenant} {PAUSED[:-5]}", self.bridge.clock())
        self.call("POST", tenant, "/v1/registrations", json={"job_id": f"{tenant}-pulled"}, expect=201)
        group = {"request_id": f"{tenant}-request", "notify": "both", "callback_url": GOOD}
        self.call("POST", tenant, "/v1/registrations", json=group, expect=201)

    def register(self, tenant: str, job: str, callback_url: str = GOOD) -> None:
        body = {"job_id": f"{tenant}-{job}", "callback_url": callback_url}
        self.call("POST", tenant, "/v1/registrations", json=body, headers={"Idempotency-Key": f"key-{job}"}, expect=201)

    def call(self, method: str, tenant: str, path: str, *, expect: int | None = None, **details: Any) -> int:
        answer = self.api.call(method, path, key=self.api_keys[tenant], **details)
        if expect:
            assert answer.status_code == expect, (tenant, method, path, answer.text)
        return answer.status_code

    def read_all(self, tenant: str) -> dict[str, int]:
        """Reads what the tenant can read. Returns the statuses that are not 200."""
        paths = ["/v1/registrations", "/v1/events", "/v1/deliveries", "/v1/destinations", "/v1/projects", "/v1/keys"]
        paths.append(f"/v1/jobs/{tenant}-late")
        statuses = {path: self.call("GET", tenant, path) for path in paths}
        return {path: status for path, status in statuses.items() if status != 200}

    # The bridge at work

    def rounds(self, most: int, until: Callable[[], bool] = lambda: False) -> None:
        """Does all that is due, at most so many times, with ROUND between."""
        for _ in range(most):
            self.bridge.dispatcher.tick()
            self.bridge.stores.reconciler.run(self.bridge.clock())
            for worker in self.workers.values():
                for _ in range(3):
                    worker.turn(claims=True)
                    while worker.tasks:
                        worker.work(0)
                worker.turn(claims=False)
            if until():
                return
            self.bridge.clock.now += ROUND


# The damages


def damages(raw: Raw) -> Iterator[Damage]:
    """All damages of what is in Redis and belongs to the victim or to nobody."""
    alike = set()
    is_other = partial(_is_of, _names_of(raw, OTHER))
    for key in sorted(raw.keys(f"{keys.PREFIX}*")):
        if is_other(key) or keys.lock("").encode() in key or (kind := kind_of(raw, key)) in alike:
            continue
        alike.add(kind)
        type_ = raw.type(key).decode()
        if type_ == "string":
            yield Damage(key, "is a list", partial(_replace, key, lambda raw, key: raw.rpush(key, "x")))
            values = (*TEXTS, HUGE)
        else:
            yield Damage(key, "is a string", partial(_replace, key, lambda raw, key: raw.set(key, "x")))
            values = ()
        yield Damage(key, "is missing", lambda raw, key=key: raw.delete(key))
        for value in values:
            yield Damage(key, f"is {_short(value)}", lambda raw, key=key, value=value: raw.set(key, value))
        yield from CONTENTS[type_](raw, key, is_other)


def _names_of(raw: Raw, tenant: str) -> tuple[bytes, ...]:
    """Returns the names in keys that belong to this tenant: its ids, and its own name."""
    deliveries = [name.split(b":")[1] for name in raw.zrange(keys.deliveries(tenant), 0, -1)]
    events = [b"dlv_" + fields[b"d"] for _, fields in raw.xrange(keys.feed(tenant))]
    own = [id for name in (keys.registrations, keys.api_keys) for id in raw.zrange(name(tenant), 0, -1)]
    return (tenant.encode(), *own, *deliveries, *events)


def _is_of(names: Sequence[bytes], key: bytes) -> bool:
    return any(name in key for name in names)


def kind_of(raw: Raw, key: bytes) -> tuple[object, ...]:
    """Returns the same for keys of one kind that have the same fields and state."""
    patterns = [name for name, pattern in kinds().items() if pattern.fullmatch(key)]
    if raw.type(key) != b"hash":
        return (*patterns, raw.type(key))
    return (*patterns, *sorted({re.split(b"[:_]", field)[0] for field in raw.hkeys(key)}), raw.hget(key, "state"))


def _replace(key: bytes, write: Callable[[Raw, bytes], object], raw: Raw) -> None:
    raw.delete(key)
    write(raw, key)


def _hash(raw: Raw, key: bytes, is_other: Test) -> Iterator[Damage]:
    for field in sorted({*raw.hkeys(key), *(LANE_FIELDS if b":lane:" in key else ())}):
        if is_other(field):
            continue
        yield Damage(key, f"lacks {field.decode()}", lambda raw, field=field: raw.hdel(key, field))
        for value in TEXTS:
            how = f"has {field.decode()} {_short(value)}"
            yield Damage(key, how, lambda raw, field=field, value=value: raw.hset(key, field, value))
    for field, value in ((b"stray", HUGE), (NOT_UTF8, b"x"), (b"job:stray", b"x"), (b"reg_stray", b"x")):
        how = f"has the field {_short(field)}"
        yield Damage(key, how, lambda raw, field=field, value=value: raw.hset(key, field, value))


def _sorted_set(raw: Raw, key: bytes, is_other: Test) -> Iterator[Damage]:
    strays = [(member, 0.0) for member in (NOT_UTF8, b"", b"request:stray", b"dlv_stray", HUGE[:10_000])]
    for member, score in (*strays, *((b"stray", score) for score in (0.0, *SCORES))):
        how = f"has {_short(member)} at {score}"
        yield Damage(key, how, lambda raw, member=member, score=score: raw.zadd(key, {member: score}))
    for member in [each for each in raw.zrange(key, 0, -1) if not is_other(each)][:1]:
        yield Damage(key, f"lacks {_short(member)}", lambda raw, member=member: raw.zrem(key, member))
        for score in SCORES:
            how = f"has its {_short(member)} at {score}"
            yield Damage(key, how, lambda raw, member=member, score=score: raw.zadd(key, {member: score}))


def _set(_: Raw, key: bytes, __: Test) -> Iterator[Damage]:
    for member in (b"stray", NOT_UTF8, b""):
        yield Damage(key, f"has {_short(member)}", lambda raw, member=member: raw.sadd(key, member))


def _list(_: Raw, key: bytes, __: Test) -> Iterator[Damage]:
    for value in TEXTS:
        yield Damage(key, f"begins with {_short(value)}", lambda raw, value=value: raw.lpush(key, value))


def _stream(_: Raw, key: bytes, __: Test) -> Iterator[Damage]:
    for fields in ({"other": "x"}, {"d": "x"}, {"d": NOT_UTF8}, {"d": HUGE}, {NOT_UTF8: "x"}):
        how = f"has an entry of {[_short(str(each).encode()) for each in fields.items()]}"
        yield Damage(key, how, lambda raw, fields=fields: raw.xadd(key, fields))


CONTENTS: dict[str, Callable[[Raw, bytes, Test], Iterator[Damage]]] = {
    "string": lambda *_: iter(()),
    "hash": _hash,
    "zset": _sorted_set,
    "set": _set,
    "list": _list,
    "stream": _stream,
}


def _short(value: bytes) -> str:
    return repr(value[:20]) if len(value) < 20 else f"{len(value)} bytes"


def kinds() -> dict[str, re.Pattern[bytes]]:
    """For each function of keys.py the pattern of its keys."""
    found = {}
    for name, function in inspect.getmembers(keys, inspect.isfunction):
        arguments = ["\0"] * len(inspect.signature(function).parameters)
        found[name] = re.compile(re.escape(function(*arguments)).replace("\0", ".*").encode())
    return found


# The check


def broken_by(scene: DamagedBridge, damage: Damage) -> list[str]:
    """Returns the promises that this damage breaks."""
    scene.restore()
    damage.write(scene.raw)
    others = {each for each in scene.expected if each[0] == OTHER}
    found: list[str] = []
    try:
        scene.rounds(ROUNDS, until=lambda: scene.expected <= scene.recorder.posts)
        if missing := others - scene.recorder.posts:
            found.append(f"others do not get {missing}")
        reported = scene.bridge.stores.reconciler.unreadable()
        if (missing := scene.expected - others - scene.recorder.posts) and not reported:
            found.append(f"the victim does not get {missing}, and nothing is reported")
        found += _read(scene, "with the damage", OTHER, VICTIM)
        DeploymentStatsReader(scene.bridge.stores.scripts).read(scene.bridge.clock())
        scene.raw.delete(damage.key)
        able = (OTHER,) if damage.key.startswith(keys.api_key("").encode()) else TENANTS
        for tenant in able:
            scene.states[f"{tenant}-new"] = JobState.SUCCEEDED
            scene.register(tenant, "new")
        new = {(tenant, "job.succeeded", f"{tenant}-new") for tenant in able}
        scene.rounds(ROUNDS, until=lambda: new <= scene.recorder.posts)
        if missing := new - scene.recorder.posts:
            found.append(f"once it is deleted, nobody gets {missing}")
        found += _read(scene, "once it is deleted", VICTIM)
    except Exception as error:  # noqa: BLE001 - whatever it is, the bridge stops
        where = traceback.extract_tb(error.__traceback__)[-1]
        found.append(f"raises {type(error).__name__} at {where.filename}:{where.lineno}: {str(error)[:300]}")
    return found


def _read(scene: DamagedBridge, when: str, *tenants: str) -> Sequence[str]:
    return [
        f"{path} is {status} {when} for {tenant}"
        for tenant in tenants
        for path, status in scene.read_all(tenant).items()
        if tenant == OTHER or status >= 500
    ]
