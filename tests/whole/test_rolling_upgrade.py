"""A rolling upgrade with a backlog, and a rollback: an older version and this one share a Redis, under load."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests

from app.devkit.bridge import Bridge
from app.devkit.client import BridgeClient
from app.devkit.clock import Clock
from app.devkit.processes import wait_until
from app.version import VERSION
from tests.support.callers import PATIENCE_S, AcknowledgedRegistration, Callers
from tests.support.chat_services import SERVICES, ChatService
from tests.support.receiver import Callback, Receiver
from tests.support.versions import MODULES, PACKAGE, TREE, Version, unpack, version_number, wait_until_at_work
from tests.whole.conftest import QUICK

# Nothing is released yet: this becomes v0.1.0 once that is tagged. It is the oldest commit of `main` with all tested
# features (the feed and chat formats). It stores registrations, jobs and callbacks as 0.1.0 does, although a third of
# the scripts has changed since. It has no counters for metrics, so this test does not check gauges.
OLDER = "f1a3f71836b148df7fb407c88b763f8645390392"
THREADS = 4  # the default concurrency of a destination is enough for the threads of both versions
SETTINGS = QUICK | {
    # No process is killed here, so leases and deadlines are long enough for a busy machine.
    "BRIDGE_LEASE_S": "60",
    "BRIDGE_ATTEMPT_DEADLINE_S": "10",
    "BRIDGE_RETRY_SCHEDULE": "0.2,0.5,1,1,2,2,4,4,8,8",
    "BRIDGE_WORKER_THREADS": str(THREADS),
}
FOREVER_S = 3600  # longer than this test

Jobs = list[dict[str, Any]]


@dataclass
class UpgradeScene:
    """The bridge without API and workers, and three receivers: `down` fails at times, `up` and `bot` never.

    feed: the events read so far from either version, up to `cursor`.
    """

    bridge: Bridge
    standin: BridgeClient
    up: Receiver
    down: Receiver
    bot: ChatService
    key: str = ""
    feed: list[dict[str, Any]] = field(default_factory=list)
    cursor: str = ""

    def callers(self, at: Version) -> Callers:
        """Clients with an API key that this version has created."""
        self.key = BridgeClient(at.url, self.bridge.key).call("POST", "/v1/keys", {"name": "callers"})["key"]
        callers = Callers(self.key, self._new_registration)
        callers.apis = (at.url,)
        return callers

    def call(self, at: Version, method: str, path: str) -> Any:
        return BridgeClient(at.url, self.key).call(method, path)

    def register_long_jobs(self, callers: Callers) -> tuple[Jobs, Jobs]:
        """Registers by request, for the bot, and job by job. Returns the jobs that still run, in two halves."""
        ended, ended_for_bot = self._jobs(2, duration_s=0)
        of_request = self._jobs(2, request_id=ended["request_id"])
        of_bot, single = self._jobs(2), self._jobs(20)
        ids = [job["job_id"] for job in (ended_for_bot, *of_bot)]
        with requests.Session() as session:
            by_request = {"request_id": ended["request_id"], "notify": "both"}
            callers.register(session, self._callback_to(self.up) | by_request, events=4)
            bot = {"callback_url": self.bot.url, "format": self.bot.service.name, "job_ids": ids}
            callers.register(session, bot, events=3)
            for job in single:
                callers.register(
                    session, self._callback_to(self.up) | {"job_id": job["job_id"], "metadata": {"room": "ops"}}
                )
        running = [*of_request, *of_bot, *single]
        return running[::2], running[1::2]

    def end(self, jobs: Jobs) -> None:
        scripts = [{"job_id": job["job_id"], "request_id": job["request_id"], "duration_s": 0} for job in jobs]
        self.standin.call("POST", "/_standin/jobs", scripts)

    def open_breaker_of_down(self, at: Version) -> int:
        """Fails `down` until its breaker is open and its backlog exceeds the threads of one version.

        Returns the number of failures in a row.
        """

        def failures_once_open() -> int:
            shown = self._down(at)
            has_backlog = shown["deliveries"] > THREADS
            return int(shown["failures"]) if has_backlog and shown["breaker"] == "open" else 0

        self.down.fail(503)
        return wait_until(failures_once_open, timeout=PATIENCE_S, what="the breaker open, with a backlog")

    def failures_of_down(self, at: Version) -> int:
        """The failures in a row of `down`."""
        return int(self._down(at)["failures"])

    def resume_down(self, at: Version) -> None:
        self.down.heal()
        self.call(at, "POST", f"/v1/destinations/{self._down(at)['id']}/resume")

    def read_feed(self, at: Version, limit: int = 200) -> int:
        """Reads one page of the feed. Returns the number of its events."""
        after = f"&after={self.cursor}" if self.cursor else ""
        page = self.call(at, "GET", f"/v1/events?limit={limit}{after}")
        self.feed += page["items"]
        self.cursor = page["next_cursor"]
        return len(page["items"])

    def move(self, callers: Callers, leaving: Version, coming: Version) -> None:
        """Replaces a version as a rolling upgrade does.

        Both versions work, and callers use both. Then `leaving` gets SIGTERM while it has work in progress.
        """
        coming.start()
        callers.apis = (leaving.url, coming.url)
        wait_until_at_work(leaving, coming)
        self._end_during_attempts(leaving)
        self._end_during_calls(leaving)
        wait_until_at_work(leaving, roles=["api"])
        leaving.terminate("api")
        leaving.wait_until_ended("api")
        callers.apis = (coming.url,)

    def callbacks(self) -> list[Callback]:
        """All callbacks except the messages of the bot, which have no event ids."""
        return [*self.up.callbacks, *self.down.callbacks]

    def event_counts(self) -> Counter[str]:
        """The number of different events received for each registration."""
        return Counter(
            registration for _, registration in {(each.id, _registration_of(each.body)) for each in self.callbacks()}
        )

    def wait_until_notified(self, acknowledged: Sequence[AcknowledgedRegistration], except_for: Jobs = ()) -> None:
        """Waits for a callback of each registration of a single job, except for these jobs."""
        left_out = {job["job_id"] for job in except_for} | {None}
        expected = {each.id for each in acknowledged if each.body.get("job_id") not in left_out}
        wait_until(
            lambda: expected <= self.event_counts().keys(), timeout=PATIENCE_S, what="a callback of each registration"
        )

    def wait_until_at_rest(self, at: Version) -> None:
        def busy() -> bool:
            paths = ("registrations?state=watching", "deliveries?state=pending", "deliveries?state=held")
            return any(self.call(at, "GET", f"/v1/{path}")["items"] for path in paths)

        wait_until(lambda: not busy(), timeout=PATIENCE_S, what="nothing pending")

    def _end_during_attempts(self, leaving: Version) -> None:
        """Ends the deliver worker during more attempts than the other version has threads: some are its own."""
        self.up.gate.clear()
        before = len(self.up.callbacks)
        wait_until(
            lambda: len(self.up.callbacks) > before + THREADS, timeout=PATIENCE_S, what="attempts of both versions"
        )
        leaving.terminate("deliver")
        self.up.gate.set()
        leaving.wait_until_ended("deliver")

    def _end_during_calls(self, leaving: Version) -> None:
        """Ends the poll worker during calls, as above.

        Without a call in progress, the worker of OLDER may not end: its `_collect` waits for a result.
        """
        self.standin.call("POST", "/_standin/faults", {"kind": "slow", "seconds": 2, "times": None})
        before = self._calls()
        wait_until(lambda: self._calls() > before + THREADS, timeout=PATIENCE_S, what="calls of both versions")
        leaving.terminate("poll")
        self.standin.call("DELETE", "/_standin/faults")
        leaving.wait_until_ended("poll")

    def _calls(self) -> int:
        counted = self.standin.call("GET", "/_standin/calls")
        return int(counted["show_job"] + counted["list_jobs"])

    def _down(self, at: Version) -> dict[str, Any]:
        """`down` as the API shows it."""
        items = self.call(at, "GET", "/v1/destinations")["items"]
        nothing = {"failures": 0, "deliveries": 0}  # there is no registration for it yet
        return next((each for each in items if self.down.url.startswith(each["destination"])), nothing)

    def _jobs(self, count: int, duration_s: float = FOREVER_S, **script: Any) -> Jobs:
        scripts = [{"duration_s": duration_s} | script] * count
        made: Jobs = self.standin.call("POST", "/_standin/jobs", scripts)["jobs"]
        return made

    def _new_registration(self) -> dict[str, Any]:
        """The body of a registration for a job that ends soon, for `up` or `down`."""
        [job] = self._jobs(1, random.uniform(0, 3))
        return self._callback_to(random.choice([self.up, self.up, self.down])) | {"job_id": job["job_id"]}

    def _callback_to(self, receiver: Receiver) -> dict[str, Any]:
        return {"callback_url": receiver.url, "secret": self.bridge.secret}


@cache
def _registration_of(body: bytes) -> str:
    id: str = json.loads(body)["data"]["registration_id"]
    return id


@contextmanager
def upgrade_scene(folder: Path, up: Receiver) -> Iterator[UpgradeScene]:
    with ExitStack() as stack:
        down = stack.enter_context(Receiver())
        bot = stack.enter_context(ChatService(SERVICES["mattermost"], Clock().now))
        bridge = stack.enter_context(Bridge(folder, SETTINGS))
        yield UpgradeScene(bridge, bridge.start_standin().client, up, down, bot)


@pytest.mark.slow
def test_an_upgrade_under_load_and_the_way_back_lose_nothing(tmp_path: Path, receiver: Receiver) -> None:
    older = unpack(OLDER, tmp_path / "older")
    with upgrade_scene(tmp_path / "bridge", receiver) as scene, ExitStack() as stack:
        named_code = (("old", older), ("new", TREE), ("old-again", older))
        versions = [stack.enter_context(Version(name, scene.bridge, code)) for name, code in named_code]
        old, new, rolled_back = versions
        old.start()
        with scene.callers(old) as callers:
            first, second = scene.register_long_jobs(callers)
            failures = scene.open_breaker_of_down(old)
            scene.read_feed(old, limit=10)

            scene.move(callers, old, new)
            assert scene.failures_of_down(new) >= failures
            callers.repeat_all()
            scene.resume_down(new)
            scene.end(first)
            scene.wait_until_notified(callers.acknowledged, except_for=second)
            scene.read_feed(new)
            failures = scene.open_breaker_of_down(new)

            scene.move(callers, new, rolled_back)
            assert scene.failures_of_down(rolled_back) >= failures
            callers.repeat_all()
            scene.resume_down(rolled_back)
            scene.end(second)
            callers.stop()
        scene.wait_until_at_rest(rolled_back)
        while scene.read_feed(rolled_back):
            pass
        print_summary(scene, callers, versions)

        check_events(scene, callers, rolled_back)
        numbers = old.number, new.number
        assert numbers == (version_number(OLDER), VERSION)
        assert first_and_last_versions(scene.callbacks()) >= {numbers, numbers[::-1]}
        assert [line for version in versions for line in version.complaints()] == []


def check_events(scene: UpgradeScene, callers: Callers, at: Version) -> None:
    acknowledged = {each.id: each for each in callers.acknowledged}
    events = {id: each.events for id, each in acknowledged.items()}
    to_bot = {id for id, each in acknowledged.items() if "format" in each.body}
    assert scene.event_counts() == {id: count for id, count in events.items() if id not in to_bot}
    for callback in scene.callbacks():
        assert callback.verified_by(scene.bridge.secret)
        data = callback.event["data"]
        assert data["metadata"] == acknowledged[data["registration_id"]].body.get("metadata", {})
    # An event has the same id and body, however often and by whichever version it was sent.
    assert len({(callback.id, callback.body) for callback in scene.callbacks()}) == sum(scene.event_counts().values())
    assert {id: scene.call(at, "GET", f"/v1/registrations/{id}")["deliveries"]["delivered"] for id in to_bot} == {
        id: events[id] for id in to_bot
    }
    assert scene.bot.refused == []
    assert scene.call(at, "GET", "/v1/deliveries?state=dead")["items"] == []
    # The feed has each event once, whichever version returned which page.
    assert Counter(event["data"]["registration_id"] for event in scene.feed) == events
    assert {event["type"] for event in scene.feed} == {"job.succeeded", "group.finished"}
    in_feed = {event["id"] for event in scene.feed if event["data"]["registration_id"] not in to_bot}
    assert in_feed == {callback.id for callback in scene.callbacks()}


def first_and_last_versions(callbacks: Sequence[Callback]) -> set[tuple[str, str]]:
    """Pairs of the versions that sent the first and the last received attempt of an event."""
    senders: dict[str, list[str]] = {}
    for callback in callbacks:
        senders.setdefault(callback.id, []).append(callback.headers["user-agent"].removeprefix(f"{PACKAGE}/"))
    return {(numbers[0], numbers[-1]) for numbers in senders.values()}


def print_summary(scene: UpgradeScene, callers: Callers, versions: Sequence[Version]) -> None:
    print(
        f"{len(callers.acknowledged)} registrations, {callers.compared} answers compared, "
        f"repeated {Counter(callers.repeated)}"
    )
    repeated = len(scene.up.callbacks) - len(scene.up.ids())
    print(
        f"{len(scene.callbacks())} callbacks, of them {repeated} repeated, "
        f"and {len(scene.bot.messages)} messages to a bot"
    )
    for version in versions:
        print(version.name, version.ended_in, {role: version.work_count(role) for role in MODULES})
