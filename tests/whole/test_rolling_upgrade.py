"""A rolling upgrade with a backlog, and the way back: an older version and this one on one Redis, under load."""

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
from tests.support.callers import PATIENCE_S, Callers, Taken
from tests.support.chat_services import SERVICES, ChatService
from tests.support.receiver import Callback, Receiver
from tests.support.versions import MODULES, PACKAGE, TREE, Version, number_of, unpack, wait_until_at_work
from tests.whole.conftest import QUICK

# Nothing is released yet: this becomes v0.1.0 once that is tagged. It is the oldest state of `main` that can do all of
# this (the feed beside chat formats), and what it keeps of registrations, jobs and callbacks is as in 0.1.0, though a
# third of the scripts has changed since. It counts nothing for metrics: gauges are not looked at.
OLDER = "f1a3f71836b148df7fb407c88b763f8645390392"
CREW = int(QUICK["BRIDGE_WORKER_THREADS"])
SETTINGS = QUICK | {
    # Nobody is killed here: leases and deadlines are an operator's, however busy the machine is.
    "BRIDGE_LEASE_S": "60",
    "BRIDGE_ATTEMPT_DEADLINE_S": "10",
    "BRIDGE_RETRY_SCHEDULE": "0.2,0.5,1,1,2,2,4,4,8,8",
    "BRIDGE_DESTINATION_CONCURRENCY": str(8 * CREW),  # two crews must find room
}
FOREVER_S = 3600  # longer than this test

Jobs = list[dict[str, Any]]


@dataclass
class Scene:
    """All but API and workers. down: answers 503 for whiles; up and bot are always there.

    feed: what was read of it so far, by whichever version was there, up to `cursor`.
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
        """With a key that this version has made."""
        self.key = BridgeClient(at.url, self.bridge.key).call("POST", "/v1/keys", {"name": "callers"})["key"]
        callers = Callers(self.key, self._wanted)
        callers.apis = (at.url,)
        return callers

    def call(self, at: Version, method: str, path: str) -> Any:
        return BridgeClient(at.url, self.key).call(method, path)

    def register_what_lasts(self, callers: Callers) -> tuple[Jobs, Jobs]:
        """By request, for a bot, and one by one: jobs that run on until they are ended, in two halves."""
        over, told = self._jobs(2, duration_s=0)
        of_request = self._jobs(2, request_id=over["request_id"])
        of_bot, single = self._jobs(2), self._jobs(20)
        ids = [job["job_id"] for job in (told, *of_bot)]
        with requests.Session() as session:
            by_request = {"request_id": over["request_id"], "notify": "both"}
            callers.register(session, self._to(self.up) | by_request, events=4)
            bot = {"callback_url": self.bot.url, "format": self.bot.service.name, "job_ids": ids}
            callers.register(session, bot, events=3)
            for job in single:
                callers.register(session, self._to(self.up) | {"job_id": job["job_id"], "metadata": {"room": "ops"}})
        lasting = [*of_request, *of_bot, *single]
        return lasting[::2], lasting[1::2]

    def end(self, jobs: Jobs) -> None:
        scripts = [{"job_id": job["job_id"], "request_id": job["request_id"], "duration_s": 0} for job in jobs]
        self.standin.call("POST", "/_standin/jobs", scripts)

    def let_down_fall(self, at: Version) -> int:
        """Until its breaker is open, and more waits for it than one crew could take at once; failures in a row."""

        def fallen() -> int:
            shown = self._down(at)
            waits = shown["deliveries"] > CREW
            return int(shown["failures"]) if waits and shown["breaker"] == "open" else 0

        self.down.fail(503)
        return wait_until(fallen, timeout=PATIENCE_S, what="the breaker open, with a backlog")

    def failures_of_down(self, at: Version) -> int:
        """In a row."""
        return int(self._down(at)["failures"])

    def let_down_rise(self, at: Version) -> None:
        self.down.heal()
        self.call(at, "POST", f"/v1/destinations/{self._down(at)['id']}/resume")

    def read_feed(self, at: Version, limit: int = 200) -> int:
        """One page; how long it was."""
        after = f"&after={self.cursor}" if self.cursor else ""
        page = self.call(at, "GET", f"/v1/events?limit={limit}{after}")
        self.feed += page["items"]
        self.cursor = page["next_cursor"]
        return len(page["items"])

    def move(self, callers: Callers, leaving: Version, coming: Version) -> None:
        """As a rolling upgrade does: both are at work, callers find both, then one is ended in the middle of that."""
        coming.start()
        callers.apis = (leaving.url, coming.url)
        wait_until_at_work(leaving, coming)
        self._end_with_attempts_in_hand(leaving)
        self._end_with_calls_in_hand(leaving)
        wait_until_at_work(leaving, roles=["api"])
        leaving.ask_to_end("api")
        leaving.wait_until_ended("api")
        callers.apis = (coming.url,)

    def callbacks(self) -> list[Callback]:
        """But those of the bot: its messages are for people."""
        return [*self.up.callbacks, *self.down.callbacks]

    def told(self) -> Counter[str]:
        """How many different events came of each registration."""
        return Counter(registration for _, registration in {(each.id, _whose(each.body)) for each in self.callbacks()})

    def wait_until_told(self, taken: Sequence[Taken], but: Jobs = ()) -> None:
        """Of all that names one job, but these."""
        left_out = {job["job_id"] for job in but} | {None}
        wanted = {each.id for each in taken if each.body.get("job_id") not in left_out}
        wait_until(lambda: wanted <= self.told().keys(), timeout=PATIENCE_S, what="a callback of each registration")

    def wait_until_at_rest(self, at: Version) -> None:
        def busy() -> bool:
            paths = ("registrations?state=watching", "deliveries?state=pending", "deliveries?state=held")
            return any(self.call(at, "GET", f"/v1/{path}")["items"] for path in paths)

        wait_until(lambda: not busy(), timeout=PATIENCE_S, what="nothing that waits")

    def _end_with_attempts_in_hand(self, leaving: Version) -> None:
        """More than the other version's crew can have: some of them are its own."""
        self.up.gate.clear()
        before = len(self.up.callbacks)
        wait_until(lambda: len(self.up.callbacks) > before + CREW, timeout=PATIENCE_S, what="attempts of both versions")
        leaving.ask_to_end("deliver")
        self.up.gate.set()
        leaving.wait_until_ended("deliver")

    def _end_with_calls_in_hand(self, leaving: Version) -> None:
        """As above. With none OLDER may not end: what `_collect` of crew.py begins with is younger."""
        self.standin.call("POST", "/_standin/faults", {"kind": "slow", "seconds": 2, "times": None})
        before = self._calls()
        wait_until(lambda: self._calls() > before + CREW, timeout=PATIENCE_S, what="calls of both versions")
        leaving.ask_to_end("poll")
        self.standin.call("DELETE", "/_standin/faults")
        leaving.wait_until_ended("poll")

    def _calls(self) -> int:
        counted = self.standin.call("GET", "/_standin/calls")
        return int(counted["show_job"] + counted["list_jobs"])

    def _down(self, at: Version) -> dict[str, Any]:
        """As it is shown."""
        items = self.call(at, "GET", "/v1/destinations")["items"]
        nothing = {"failures": 0, "deliveries": 0}  # nobody has registered for it yet
        return next((each for each in items if self.down.url.startswith(each["destination"])), nothing)

    def _jobs(self, count: int, duration_s: float = FOREVER_S, **script: Any) -> Jobs:
        scripts = [{"duration_s": duration_s} | script] * count
        made: Jobs = self.standin.call("POST", "/_standin/jobs", scripts)["jobs"]
        return made

    def _wanted(self) -> dict[str, Any]:
        """A registration for a job that ends soon, told to one of two."""
        [job] = self._jobs(1, random.uniform(0, 3))
        return self._to(random.choice([self.up, self.up, self.down])) | {"job_id": job["job_id"]}

    def _to(self, receiver: Receiver) -> dict[str, Any]:
        return {"callback_url": receiver.url, "secret": self.bridge.secret}


@cache
def _whose(body: bytes) -> str:
    id: str = json.loads(body)["data"]["registration_id"]
    return id


@contextmanager
def staged(folder: Path, up: Receiver) -> Iterator[Scene]:
    with ExitStack() as stack:
        down = stack.enter_context(Receiver())
        bot = stack.enter_context(ChatService(SERVICES["mattermost"], Clock().now))
        bridge = stack.enter_context(Bridge(folder, SETTINGS))
        yield Scene(bridge, bridge.start_standin().client, up, down, bot)


@pytest.mark.slow
def test_an_upgrade_under_load_and_the_way_back_lose_nothing(tmp_path: Path, receiver: Receiver) -> None:
    older = unpack(OLDER, tmp_path / "older")
    with staged(tmp_path / "bridge", receiver) as scene, ExitStack() as stack:
        named = (("old", older), ("new", TREE), ("old-again", older))
        versions = [stack.enter_context(Version(name, scene.bridge, code)) for name, code in named]
        old, new, again = versions
        old.start()
        with scene.callers(old) as callers:
            first, second = scene.register_what_lasts(callers)
            failures = scene.let_down_fall(old)
            scene.read_feed(old, limit=10)

            scene.move(callers, old, new)
            assert scene.failures_of_down(new) >= failures
            callers.repeat_all()
            scene.let_down_rise(new)
            scene.end(first)
            scene.wait_until_told(callers.taken, but=second)
            scene.read_feed(new)
            failures = scene.let_down_fall(new)

            scene.move(callers, new, again)
            assert scene.failures_of_down(again) >= failures
            callers.repeat_all()
            scene.let_down_rise(again)
            scene.end(second)
            callers.stop()
        scene.wait_until_at_rest(again)
        while scene.read_feed(again):
            pass
        show(scene, callers, versions)

        check_what_was_told(scene, callers, again)
        numbers = old.number, new.number
        assert numbers == (number_of(OLDER), VERSION)
        assert begun_and_ended_by(scene.callbacks()) >= {numbers, numbers[::-1]}
        assert [line for version in versions for line in version.complaints()] == []


def check_what_was_told(scene: Scene, callers: Callers, at: Version) -> None:
    taken = {each.id: each for each in callers.taken}
    events = {id: each.events for id, each in taken.items()}
    to_bot = {id for id, each in taken.items() if "format" in each.body}
    assert scene.told() == {id: count for id, count in events.items() if id not in to_bot}
    for callback in scene.callbacks():
        assert callback.verified_by(scene.bridge.secret)
        data = callback.event["data"]
        assert data["metadata"] == taken[data["registration_id"]].body.get("metadata", {})
    # However often it came, and from whom.
    assert len({(callback.id, callback.body) for callback in scene.callbacks()}) == sum(scene.told().values())
    assert {id: scene.call(at, "GET", f"/v1/registrations/{id}")["deliveries"]["delivered"] for id in to_bot} == {
        id: events[id] for id in to_bot
    }
    assert scene.bot.refused == []
    assert scene.call(at, "GET", "/v1/deliveries?state=dead")["items"] == []
    # Nothing is left out of the feed, and nothing comes twice, whoever read which part of it.
    assert Counter(event["data"]["registration_id"] for event in scene.feed) == events
    assert {event["type"] for event in scene.feed} == {"job.succeeded", "group.finished"}
    in_feed = {event["id"] for event in scene.feed if event["data"]["registration_id"] not in to_bot}
    assert in_feed == {callback.id for callback in scene.callbacks()}


def begun_and_ended_by(callbacks: Sequence[Callback]) -> set[tuple[str, str]]:
    """Versions of the first and the last attempt, of those that are known by their receiver."""
    by: dict[str, list[str]] = {}
    for callback in callbacks:
        by.setdefault(callback.id, []).append(callback.headers["user-agent"].removeprefix(f"{PACKAGE}/"))
    return {(numbers[0], numbers[-1]) for numbers in by.values()}


def show(scene: Scene, callers: Callers, versions: Sequence[Version]) -> None:
    print(
        f"{len(callers.taken)} registrations, {callers.compared} answers compared, repeated {Counter(callers.repeated)}"
    )
    twice = len(scene.up.callbacks) - len(scene.up.ids())
    print(f"{len(scene.callbacks())} callbacks, of them {twice} twice, and {len(scene.bot.messages)} messages to a bot")
    for version in versions:
        print(version.name, version.ended_in, {role: version.has_done(role) for role in MODULES})
