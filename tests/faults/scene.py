"""A scene: a whole bridge in a private folder under a steady load, into which a fault is injected."""

import base64
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

from tests.faults.answers import Answer
from tests.faults.api import Api
from tests.faults.children import Fleet, Launch, Member, has_socket, kill, wait_until
from tests.faults.clock import SteppedClock, library
from tests.faults.cph import OUTPUT, PROJECT_ID, TOKEN, CphServer
from tests.faults.judge import Evidence, missing
from tests.faults.load import MARKER, SIGNING_MARKER, Load
from tests.faults.proxy import Proxy
from tests.faults.receiver import Behaviour, CallbackReceiver, accept
from tests.faults.servers import SERVICE, SceneRedis, SceneRedisGroup, free_port

ROOT = Path(__file__).resolve().parents[2]
MODULES = {"api": ("app.api",), "poll": ("workers", "poll"), "deliver": ("workers", "deliver")}
# `cph-bridge keys create --tenant …` for each argument, in one process.
CREATE_KEYS = """
import sys
from app.cli.main import main
for tenant in sys.argv[1:]:
    main(["keys", "create", "--tenant", tenant], standalone_mode=False)
"""
TENANTS = ("default", "ann", "ben")
VICTIM = "victim"
PATIENCE_S = 180.0  # for a start on a busy machine
GAUGES = (
    "registrations_watching",
    'deliveries{state="pending"}',
    'watches{state="pending"}',
    'watches{state="running"}',
)
PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "PYTHONUTF8")


@dataclass(frozen=True, slots=True)
class Setting:
    """What a fault needs of its scene. workers: of each kind. variables: settings of the bridge. stepped: processes
    whose clocks can be stepped, each by itself: `redis`, `api-0`, `poll-0`, … files: operator's files by name.
    `{folder}` in them and in variables is the scene's folder, `{cph}` CPH's URL. victim: a further tenant, whose fate
    is not judged. deadline_s: of half of the registrations."""

    proxied: bool = False
    sentinel: bool = False
    workers: int = 1
    variables: Mapping[str, str] = field(default_factory=dict)
    redis: tuple[str, ...] = ()
    stepped: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    victim: bool = False
    deadline_s: int = 120


class Scene:
    """seed: of all chance in it."""

    def __init__(self, folder: Path, setting: Setting, seed: int) -> None:
        self.folder, self.setting = folder, setting
        self.random = random.Random(seed)
        self._seed = seed
        self._stack = ExitStack()
        self.logs = folder / "logs"
        self.key = f"{MARKER}-bootstrap-{secrets.token_hex(12)}"
        self.secret_key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.api = Api(free_port())
        self._probe_port = free_port()
        self.alive = folder / "alive"
        self.clocks: dict[str, SteppedClock] = {}

    def __enter__(self) -> Self:
        with self._stack:
            self._start()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.logs.mkdir(parents=True)
        if self.setting.stepped:
            built = library(self.folder)
            self.clocks = {name: SteppedClock(built, self.folder / f"clock-{name}") for name in self.setting.stepped}
        self._start_redis()
        self.cph = CphServer()
        self._stack.enter_context(self.cph.server)
        for name, text in self.setting.files.items():
            file = self.folder / name
            file.parent.mkdir(exist_ok=True)
            named = text.replace("{folder}", str(self.folder)).replace("{cph}", self.cph.server.url)
            file.write_text(named, encoding="utf-8")
        self.receiver = CallbackReceiver()
        self._stack.enter_context(self.receiver.server)
        self.fleet = Fleet(self.logs, ROOT, self._launch)
        self._stack.callback(self.fleet.stop)
        workers = [(kind, number) for kind in ("poll", "deliver") for number in range(self.setting.workers)]
        self.fleet.start([("api", 0), *workers])
        keys, deadline_s = self._create_keys(), self.setting.deadline_s
        self.load = Load(self.api, self.cph, self.receiver.url, keys, TENANTS, self._seed, deadline_s)
        self.wait_until_at_work()

    def _start_redis(self) -> None:
        self.group: SceneRedisGroup | None = None
        if self.setting.sentinel:
            self.group = SceneRedisGroup(self.folder / "redis")
            self._stack.callback(self.group.stop)
            self.group.start()
            return
        clock = self.clocks.get("redis")
        environment = {**self._inherited(), **clock.environment} if clock else None
        self.redis = SceneRedis(self.folder / "redis", options=self.setting.redis, environment=environment)
        self._stack.callback(self.redis.stop)
        self.redis.start()
        if self.setting.proxied:
            self.proxy = Proxy(("127.0.0.1", self.redis.port), self._seed)
            self._stack.callback(self.proxy.close)

    def ready(self) -> bool:
        """True once a fault meets all at work: the API answers, all workers and dispatchers have connected."""
        workers = [member.family() for member in self.fleet.of("poll", "deliver")]
        return (
            all(len(family) > 1 and all(map(has_socket, family)) for family in workers)
            and self.api.call(self.key, "GET", "/v1/projects").ok
        )

    def client(self) -> Any:
        """A connection to Redis beside the bridge's own."""
        if self.group:
            return self.group.servers[self.group.primary()].client()
        return self.redis.client()

    def pick(self, *roles: str) -> Member:
        return self.random.choice(self.fleet.of(*roles))

    def signal(self, pid: int, number: int) -> None:
        kill(pid, number)

    def successor(self, member: Member) -> Member:
        """The process that was started after this one had ended."""

        def other() -> Member | None:
            return next(
                (now for now in self.fleet.of(member.role) if now.slot == member.slot and now is not member), None
            )

        return cast("Member", wait_until(other, what=f"another {member.role}"))

    def wait_for_child(self, member: Member) -> None:
        wait_until(lambda: len(member.family()) > 1, timeout=15, what=f"a child of {member.role}")

    def dispatchers(self) -> list[int]:
        """The processes that workers have started."""
        workers = self.fleet.of("poll", "deliver")
        return [pid for member in workers for pid in member.family() if pid != member.pid]

    def neighbour(self, behaviour: Behaviour) -> CallbackReceiver:
        """Another tenant's receiver, on all addresses of loopback."""
        receiver = CallbackReceiver(behaviour, host="")
        self._stack.enter_context(receiver.server)
        return receiver

    def slow_receiver(self, seconds: float) -> None:
        self.receiver.behave = lambda _: Answer(204, wait_s=seconds)

    def calm_receiver(self) -> None:
        self.receiver.behave = accept

    def pause(self, low: float, high: float | None = None) -> None:
        """Waits so many seconds, or a random time between two bounds."""
        time.sleep(self.random.uniform(low, high) if high else low)

    def wait_for_callback_after(self, moment: float, limit_s: float) -> None:
        """Waits until a callback has come since then (monotonic, s), at most until `limit_s` after it."""
        while time.monotonic() < moment + limit_s:
            if any(callback.at >= moment for callback in self.receiver.callbacks()):
                return
            time.sleep(0.1)

    def wait_until_at_work(self) -> None:
        """After a restart of everything: on a busy machine that takes long."""
        wait_until(self.ready, timeout=PATIENCE_S, what="a bridge that is ready")

    def settle(self, limit_s: float, slack: int = 0) -> bool:
        """Waits until all that is owed has arrived and no metric is above `slack`. Returns whether it came."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            if not missing(self.load.orders(), self.receiver.callbacks()):
                metrics = self.metrics()
                if metrics and max(metrics.values()) <= slack and self._followed():
                    return True
            time.sleep(0.3)
        return False

    def metrics(self) -> dict[str, float]:
        """The gauges that are 0 when nothing is open; {} while they cannot be read."""
        values = {}
        for line in self.api.page("/metrics").splitlines():
            name, _, value = line.removeprefix("cph_bridge_").rpartition(" ")
            if name in GAUGES:
                values[name] = float(value)
        return values if len(values) == len(GAUGES) else {}

    def read_feed(self, tenant: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        cursor = ""
        while True:
            reply = self.api.events(self.load.keys[tenant], cursor)
            if not reply.ok:
                events.append({"id": f"the feed answers {reply.status}", "type": "", "data": {"registration_id": ""}})
                return events
            if not reply.body["items"]:
                return events
            events += reply.body["items"]
            cursor = reply.body["next_cursor"]

    def gather(self, fault_began: float, fault_ended: float) -> Evidence:
        """All that can be seen while the bridge runs."""
        return Evidence(
            orders=self.load.orders(),
            callbacks=self.receiver.callbacks(),
            feeds={tenant: self.read_feed(tenant) for tenant in TENANTS},
            followed={tenant: feed.ids for tenant, feed in self.load.feeds.items()},
            metrics=self.metrics() or {"no metrics can be read": 1},
            logs=self.read_environments(),
            statuses=dict(self.load.statuses.items()),
            secrets=[MARKER, SIGNING_MARKER, OUTPUT, TOKEN, self.secret_key, *self.load.keys.values()],
            fault_began=fault_began,
            fault_ended=fault_ended,
        )

    def read_logs(self) -> dict[str, list[str]]:
        """By name: the lines of each log, and of each file of Redis' data."""
        files = [*self.logs.glob("*.log"), *self.folder.glob("redis/**/*.aof"), *self.folder.glob("redis/**/*.rdb")]
        return {file.name: file.read_text(encoding="utf-8", errors="replace").splitlines() for file in sorted(files)}

    def read_environments(self) -> dict[str, list[str]]:
        """By process: what each dispatcher has inherited."""
        found = {}
        for pid in self.dispatchers():
            with suppress(OSError):
                text = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8", errors="replace")
                found[f"environment of dispatcher {pid}"] = text.split("\0")
        return found

    def _followed(self) -> bool:
        """Whether followers have read all that the feeds hold."""
        return all(
            (reply := self.api.events(self.load.keys[tenant], feed.cursor)).ok and not reply.body["items"]
            for tenant, feed in self.load.feeds.items()
        )

    def _launch(self, role: str, number: int) -> Launch:
        environment = self.environment()
        if clock := self.clocks.get(f"{role}-{number}"):
            environment |= clock.environment
        if role != "api":
            environment["BRIDGE_ALIVE_FILE"] = str(self.alive) + f"-{role}-{number}"
        return Launch([sys.executable, "-m", *MODULES[role]], environment)

    def _inherited(self) -> dict[str, str]:
        return {name: os.environ[name] for name in PASSED_ON if name in os.environ}  # noqa: TID251

    def environment(self) -> dict[str, str]:
        """Short waits, so that a fault is over within half a minute: a lease of 8 s, retries after seconds."""
        return {
            **self._inherited(),
            **self._redis_variables(),
            "BRIDGE_API_BIND": f"127.0.0.1:{self.api.port}",
            "BRIDGE_PROBE_BIND": f"127.0.0.1:{self._probe_port}",
            "BRIDGE_API_WORKERS": "1",
            "BRIDGE_BOOTSTRAP_KEY": self.key,
            "BRIDGE_SECRET_KEYS": f"k1:{self.secret_key}",
            "BRIDGE_CPH_PROJECT_ID": PROJECT_ID,
            "BRIDGE_CPH_ENDPOINT": self.cph.server.url,
            "BRIDGE_CPH_TOKEN": TOKEN,
            "BRIDGE_CPH_RATE": "100",
            "BRIDGE_POLL_MAX_S": "3",
            "BRIDGE_LOST_GRACE_S": "30",
            "BRIDGE_REQUEST_QUIET_S": "3",
            "BRIDGE_LEASE_S": "8",
            "BRIDGE_ATTEMPT_DEADLINE_S": "3",
            "BRIDGE_RETRY_SCHEDULE": "1,1,2,2,3,3,3,3,3,3,3,3,3,3,3,3",
            "BRIDGE_ALLOW_NETWORKS": "127.0.0.0/8",
            **{name: value.replace("{folder}", str(self.folder)) for name, value in self.setting.variables.items()},
        }

    def _redis_variables(self) -> dict[str, str]:
        if self.group:
            sentinels = ",".join(f"127.0.0.1:{port}" for port in self.group.sentinel_ports)
            return {
                "BRIDGE_REDIS_URL": "redis://by-sentinel/0",
                "BRIDGE_REDIS_SENTINELS": sentinels,
                "BRIDGE_REDIS_SENTINEL_SERVICE": SERVICE,
                "BRIDGE_WAIT_REPLICAS": "2",
            }
        port = self.proxy.port if self.setting.proxied else self.redis.port
        return {"BRIDGE_REDIS_URL": f"redis://127.0.0.1:{port}/0"}

    def _create_keys(self) -> dict[str, str]:
        """The first tenant has the bootstrap key; the others get theirs by the operator's command."""
        others = (*TENANTS[1:], *((VICTIM,) if self.setting.victim else ()))
        done = subprocess.run(
            [sys.executable, "-c", CREATE_KEYS, *others],
            env=self.environment(),
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE_S,
            check=True,
        )
        return {TENANTS[0]: self.key, **dict(zip(others, done.stdout.split(), strict=True))}


def quietly(action: Any, *arguments: Any) -> None:
    """Runs an action of a fault whose failure is of no interest."""
    with suppress(Exception):
        action(*arguments)
