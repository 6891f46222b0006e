"""The primary of Redis is parted from its replicas and replaced under load, and comes back."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

import pytest
import requests

from app.devkit.bridge import Bridge
from app.devkit.processes import wait_until
from tests.support.receiver import Receiver
from tests.support.redis_group import RedisGroup
from tests.whole.conftest import QUICK

THREADS = 4
ENOUGH = 25  # acknowledged before, while the primary is replaced, and after it is back
BOUND_S = 20.0  # 2 s for the clock, two tries of as long for the registration, Sentinels, and a busy machine
PATIENCE_S = 120.0
FOLLOWED = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2")


@dataclass(frozen=True)
class RegistrationAnswer:
    job_id: str
    status: int  # 0 if the connection broke
    id: str | None
    retry_after: str | None
    took_s: float


class Stream:
    """While entered, callers register job after job, each with an Idempotency-Key; `answers` in the order they came."""

    def __init__(self, bridge: Bridge, standin: Any, receiver: Receiver) -> None:
        self._bridge, self._standin, self._receiver = bridge, standin, receiver
        self._stopping = Event()
        self._threads = [Thread(target=self._run) for _ in range(THREADS)]
        self.answers: list[RegistrationAnswer] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def acknowledged(self, since: int = 0) -> list[RegistrationAnswer]:
        return [answer for answer in self.answers[since:] if answer.status == 201]

    def wait_for_more(self) -> int:
        """Until enough more were acknowledged; how many answers there were before that."""
        since = len(self.answers)
        wait_until(lambda: len(self.acknowledged(since)) >= ENOUGH, timeout=PATIENCE_S, what="acknowledged ones")
        return since

    def _run(self) -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {self._bridge.key}"
            while not self._stopping.wait(0.02):
                made = self._standin.call("POST", "/_standin/jobs", {"duration_s": 0})
                self.answers.append(self._register(session, made["jobs"][0]["job_id"]))

    def _register(self, session: requests.Session, job_id: str) -> RegistrationAnswer:
        body = {"job_id": job_id, "callback_url": self._receiver.url, "secret": self._bridge.secret}
        begun = time.monotonic()
        try:
            answer = session.post(
                f"{self._bridge.url}/v1/registrations", json=body, headers={"Idempotency-Key": job_id}, timeout=60
            )
        except requests.ConnectionError:
            return RegistrationAnswer(job_id, 0, None, None, time.monotonic() - begun)
        id = answer.json()["id"] if answer.status_code == 201 else None
        return RegistrationAnswer(
            job_id, answer.status_code, id, answer.headers.get("Retry-After"), time.monotonic() - begun
        )


@dataclass(frozen=True)
class Replicated:
    """A bridge with both workers, on a group of Redis servers."""

    bridge: Bridge
    group: RedisGroup
    receiver: Receiver
    stream: Stream

    def told_of(self) -> set[str]:
        return {callback.event["data"]["registration_id"] for callback in list(self.receiver.callbacks)}

    def wait_until_told(self, answers: list[RegistrationAnswer]) -> None:
        wanted = {answer.id for answer in answers}
        wait_until(lambda: wanted <= self.told_of(), timeout=PATIENCE_S, what="a callback of each acknowledged")


@contextmanager
def replicated(folder: Path, receiver: Receiver, *options: str, wait_replicas: int) -> Iterator[Replicated]:
    with RedisGroup(folder / "group", replicas=2, sentinels=3, options=options) as group:
        settings = {**QUICK, **group.settings, "BRIDGE_WAIT_REPLICAS": str(wait_replicas)}
        with Bridge(folder / "bridge", settings) as bridge:
            standin = bridge.start_standin()
            bridge.start_api()
            for kind in ("poll", "deliver"):
                bridge.start_worker(kind)
            yield Replicated(bridge, group, receiver, Stream(bridge, standin.client, receiver))


@contextmanager
def frozen(group: RedisGroup) -> Iterator[None]:
    """It answers nobody."""
    group.freeze(group.first)
    yield
    group.thaw(group.first)


def parted(group: RedisGroup) -> AbstractContextManager[None]:
    """Clients still reach it, replicas and Sentinels do not."""
    return group.door.shut_on_servers()


@pytest.mark.slow
@pytest.mark.parametrize("apart", [frozen, parted])
def test_every_acknowledged_registration_survives_a_failover_under_load(
    tmp_path: Path, receiver: Receiver, apart: Callable[[RedisGroup], AbstractContextManager[None]]
) -> None:
    with replicated(tmp_path, receiver, *FOLLOWED, wait_replicas=1) as whole:
        with whole.stream as stream:
            stream.wait_for_more()
            with apart(whole.group):
                whole.group.wait_until_replaced()
                since = stream.wait_for_more()
                # The workers have found the primary that follows, though the first one still stands there.
                whole.wait_until_told(stream.acknowledged(since))
            whole.group.wait_until_it_follows(whole.group.first)
            stream.wait_for_more()
        whole.wait_until_told(stream.acknowledged())
        whole.bridge.check()
    others = [answer for answer in stream.answers if answer.status != 201]
    assert others, "nothing went wrong: this test shows nothing"
    assert {(answer.status, answer.retry_after) for answer in others} == {(503, "2")}
    assert max(answer.took_s for answer in stream.answers) < BOUND_S
    assert all(callback.verified_by(whole.bridge.secret) for callback in receiver.callbacks)
    assert len(receiver.ids()) == len(whole.told_of())  # however often an event came, it had one id


@pytest.mark.slow
def test_without_waiting_for_replicas_the_service_recovers_all_the_same(tmp_path: Path, receiver: Receiver) -> None:
    """What the first primary has acknowledged since it was parted is lost: that is what the waiting is for."""
    with replicated(tmp_path, receiver, wait_replicas=0) as whole:
        with whole.stream as stream:
            stream.wait_for_more()
            with parted(whole.group):
                whole.group.wait_until_replaced()
            whole.group.wait_until_it_follows(whole.group.first)
            since = stream.wait_for_more()
        whole.wait_until_told(stream.acknowledged(since))
        whole.bridge.check()
