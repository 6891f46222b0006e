"""Under load, the primary of Redis is replaced, as planned or because it is away, and returns as a replica."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
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
REPLICAS = 2
CANCELLED_JOB_S = 0.5
ENOUGH = 25  # acknowledged registrations before the failover, during it, and after the old primary is back
BOUND_S = 20.0  # 2 s to read the clock, twice 2 s for the registration, then time for Sentinels and a busy machine
PATIENCE_S = 120.0
REPLICA_REQUIRED = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2")


@dataclass(frozen=True)
class RegistrationAnswer:
    job_id: str
    status: int  # 0 if the connection broke
    id: str | None
    retry_after: str | None
    took_s: float


class RegistrationLoad:
    """While entered, threads register one job after another, each with an Idempotency-Key. They cancel every second
    registration at once: its job would end a little later.

    answers: to the registrations that stay, in the order in which they arrived. cancels: the time of each 204, by
    registration.
    """

    def __init__(self, bridge: Bridge, standin: Any, receiver: Receiver) -> None:
        self._bridge, self._standin, self._receiver = bridge, standin, receiver
        self._stopping = Event()
        self._threads = [Thread(target=self._run) for _ in range(THREADS)]
        self.answers: list[RegistrationAnswer] = []
        self.cancels: dict[str, float] = {}

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
        """Waits until ENOUGH more registrations are acknowledged. Returns the number of answers before that."""
        since = len(self.answers)
        wait_until(
            lambda: len(self.acknowledged(since)) >= ENOUGH, timeout=PATIENCE_S, what="acknowledged registrations"
        )
        return since

    def _run(self) -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {self._bridge.key}"
            while not self._stopping.wait(0.02):
                self.answers.append(self._register(session, self._job(0)))
                cancelled = self._register(session, self._job(CANCELLED_JOB_S))
                if cancelled.id:
                    self._cancel(session, cancelled.id)

    def _job(self, duration_s: float) -> str:
        job_id: str = self._standin.call("POST", "/_standin/jobs", {"duration_s": duration_s})["jobs"][0]["job_id"]
        return job_id

    def _cancel(self, session: requests.Session, id: str) -> None:
        """Whether another answer than 204 cancels is unknown."""
        with suppress(requests.ConnectionError):
            answer = session.delete(f"{self._bridge.url}/v1/registrations/{id}", timeout=60)
            if answer.status_code == 204:
                self.cancels[id] = time.monotonic()

    def _register(self, session: requests.Session, job_id: str) -> RegistrationAnswer:
        body = {"job_id": job_id, "callback_url": self._receiver.url, "secret": self._bridge.secret}
        started = time.monotonic()
        try:
            answer = session.post(
                f"{self._bridge.url}/v1/registrations", json=body, headers={"Idempotency-Key": job_id}, timeout=60
            )
        except requests.ConnectionError:
            return RegistrationAnswer(job_id, 0, None, None, time.monotonic() - started)
        id = answer.json()["id"] if answer.status_code == 201 else None
        return RegistrationAnswer(
            job_id, answer.status_code, id, answer.headers.get("Retry-After"), time.monotonic() - started
        )


@dataclass(frozen=True)
class ReplicatedDeployment:
    """A bridge with both workers, on a group of Redis servers."""

    bridge: Bridge
    group: RedisGroup
    receiver: Receiver
    load: RegistrationLoad

    def notified_registrations(self) -> set[str]:
        return {callback.event["data"]["registration_id"] for callback in list(self.receiver.callbacks)}

    def wait_until_notified(self, answers: list[RegistrationAnswer]) -> None:
        expected = {answer.id for answer in answers}
        wait_until(
            lambda: expected <= self.notified_registrations(),
            timeout=PATIENCE_S,
            what="a callback for each acknowledged registration",
        )

    def check_cancels(self) -> None:
        """No callback has begun, or was still under way, after its registration's 204."""
        assert len(self.load.cancels) > ENOUGH
        received = [(each.event["data"]["registration_id"], each.received_at) for each in list(self.receiver.callbacks)]
        assert [id for id, at in received if at > self.load.cancels.get(id, at)] == []
        states = {self.bridge.call("GET", f"/v1/registrations/{id}")["state"] for id in self.load.cancels}
        assert states == {"cancelled"}


@contextmanager
def replicated_deployment(
    folder: Path, receiver: Receiver, *options: str, wait_replicas: int, near: int = 0
) -> Iterator[ReplicatedDeployment]:
    with RedisGroup(folder / "group", replicas=REPLICAS, near=near, sentinels=3, options=options) as group:
        settings = {**QUICK, **group.settings, "BRIDGE_WAIT_REPLICAS": str(wait_replicas)}
        with Bridge(folder / "bridge", settings) as bridge:
            standin = bridge.start_standin()
            bridge.start_api()
            for kind in ("poll", "deliver"):
                bridge.start_worker(kind)
            yield ReplicatedDeployment(bridge, group, receiver, RegistrationLoad(bridge, standin.client, receiver))


@contextmanager
def frozen(group: RedisGroup) -> Iterator[None]:
    """The first primary answers nobody."""
    group.freeze(group.first)
    yield
    group.thaw(group.first)


def partitioned(group: RedisGroup) -> AbstractContextManager[None]:
    return group.partitioned()


@pytest.mark.slow
@pytest.mark.parametrize("fault", [pytest.param(frozen, marks=pytest.mark.one_by_one), partitioned])
def test_every_acknowledged_registration_survives_a_failover_under_load(
    tmp_path: Path, receiver: Receiver, fault: Callable[[RedisGroup], AbstractContextManager[None]]
) -> None:
    with replicated_deployment(tmp_path, receiver, *REPLICA_REQUIRED, wait_replicas=1) as deployment:
        with deployment.load as load:
            load.wait_for_more()
            with fault(deployment.group):
                deployment.group.wait_until_replaced()
                since = load.wait_for_more()
                # The workers use the new primary, although the old one still runs.
                deployment.wait_until_notified(load.acknowledged(since))
            deployment.group.wait_until_it_follows(deployment.group.first)
            load.wait_for_more()
        deployment.wait_until_notified(load.acknowledged())
        deployment.bridge.check()
    others = [answer for answer in load.answers if answer.status != 201]
    assert others, "no request failed: this test shows nothing"
    assert {(answer.status, answer.retry_after) for answer in others} == {(503, "2")}
    assert max(answer.took_s for answer in load.answers) < BOUND_S
    assert all(callback.verified_by(deployment.bridge.secret) for callback in receiver.callbacks)
    # An event has one id, however often it arrived; its times may differ after a failover.
    ids = {(callback.event["data"]["registration_id"], callback.id) for callback in list(receiver.callbacks)}
    assert len(ids) == len({registration for registration, _ in ids})


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [pytest.param([], id="plain"), pytest.param(["COORDINATED"], id="coordinated", marks=pytest.mark.one_by_one)],
)
def test_a_planned_failover_under_load_loses_nothing_if_all_replicas_are_waited_for(
    tmp_path: Path, receiver: Receiver, options: list[str]
) -> None:
    """Until Sentinel demotes it, the old primary accepts writes, and its other replica confirms them."""
    with replicated_deployment(tmp_path, receiver, *REPLICA_REQUIRED, wait_replicas=REPLICAS) as deployment:
        if options and not deployment.group.knows_coordinated_failover():
            pytest.skip("this server knows no coordinated failover")
        with deployment.load as load:
            load.wait_for_more()
            deployment.group.fail_over(*options)
            deployment.group.wait_until_it_follows(deployment.group.first)
            load.wait_for_more()
        deployment.wait_until_notified(load.acknowledged())
        deployment.check_cancels()
        deployment.bridge.check()
    assert {(answer.status, answer.retry_after) for answer in load.answers} <= {(201, None), (503, "2")}


@pytest.mark.slow
def test_a_primary_that_is_parted_with_a_replica_acknowledges_nothing_if_all_are_waited_for(
    tmp_path: Path, receiver: Receiver
) -> None:
    """Both sides refuse (503) until the partition ends: neither has all replicas."""
    with replicated_deployment(tmp_path, receiver, *REPLICA_REQUIRED, wait_replicas=REPLICAS, near=1) as deployment:
        with deployment.load as load:
            load.wait_for_more()
            with partitioned(deployment.group):
                deployment.group.wait_until_promoted()
                refused = len(load.answers)
                wait_until(lambda: len(load.answers) > refused + 2 * THREADS, timeout=PATIENCE_S, what="answers")
                assert load.acknowledged(refused + THREADS) == []
            deployment.group.wait_until_it_follows(deployment.group.first)
            load.wait_for_more()
        deployment.wait_until_notified(load.acknowledged())
        deployment.check_cancels()
        deployment.bridge.check()


@pytest.mark.slow
def test_without_waiting_for_replicas_the_service_recovers_all_the_same(tmp_path: Path, receiver: Receiver) -> None:
    """The old primary's acknowledgements after the partition are lost. BRIDGE_WAIT_REPLICAS prevents that."""
    with replicated_deployment(tmp_path, receiver, wait_replicas=0) as deployment:
        with deployment.load as load:
            load.wait_for_more()
            with partitioned(deployment.group):
                deployment.group.wait_until_replaced()
            deployment.group.wait_until_it_follows(deployment.group.first)
            since = load.wait_for_more()
        deployment.wait_until_notified(load.acknowledged(since))
        deployment.bridge.check()
