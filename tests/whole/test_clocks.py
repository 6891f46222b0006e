"""Clocks of processes and of Redis step while jobs run: nothing is lost, false or late.

`./dev faults --group clocks` has more of them.
"""

import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.devkit.bridge import Bridge
from app.devkit.client import BridgeClient
from app.devkit.processes import wait_until
from app.devkit.redis_server import SERVER, find_server
from app.domain.access import Scope
from app.store.engine import keys
from tests.faults.clock import SteppedClock, library
from tests.support.receiver import Receiver
from tests.whole.conftest import QUICK, Deployment

pytestmark = pytest.mark.slow  # starts processes, and jobs run for seconds

HOUR_S, DAY_S = 3_600, 86_400
JOBS = 24
LAST_END_S = 6.0
LATEST_S = 30.0
DEADLINE_S = 60  # a clock that is an hour ahead is past it

Clocks = dict[str, SteppedClock]


@pytest.fixture
def clocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """The clocks of Redis and of three processes. Redis is started by a script."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    preload = library(tmp_path)
    clocks = {name: SteppedClock(preload, tmp_path / name) for name in ("redis", "api", "poll", "deliver")}
    server = tmp_path / "stepped-redis"
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in clocks["redis"].environment.items())
    server.write_text(f'#!/bin/sh\n{variables} exec {find_server().path} "$@"\n', encoding="utf-8")
    server.chmod(0o700)
    monkeypatch.setenv(SERVER, str(server))
    return clocks


@pytest.fixture
def deployment(tmp_path: Path, clocks: Clocks, receiver: Receiver) -> Iterator[Deployment]:
    """The clocks of a poll worker, the deliver worker, the API and Redis can step."""
    settings = dict(QUICK)
    with Bridge(tmp_path / "bridge", settings) as bridge:
        standin = bridge.start_standin()
        deployment = Deployment(bridge, standin, receiver)
        for kind in ("poll", "deliver"):
            deployment.start_worker(kind, **clocks[kind].environment)
        deployment.start_worker("poll")
        settings |= clocks["api"].environment
        bridge.start_api()
        wait_until(lambda: deployment.redis.hget(keys.counts(), "looked"), what="a tick of the dispatcher")
        yield deployment
        deployment.end()


def run_jobs(deployment: Deployment, meanwhile: Callable[[], None]) -> None:
    """Jobs end one after the other, meanwhile clocks step. Each must arrive once, as succeeded, in time."""
    began = time.monotonic()
    registrations = [
        deployment.register(deployment.job(duration_s=LAST_END_S * number / JOBS), deadline_s=DEADLINE_S)
        for number in range(1, JOBS + 1)
    ]
    meanwhile()
    after = deployment.register(deployment.job(duration_s=1), deadline_s=DEADLINE_S)
    left_s = began + LAST_END_S + LATEST_S - time.monotonic()
    deployment.wait_until_delivered(*registrations, after, timeout=left_s)
    assert {callback.event["type"] for callback in deployment.receiver.callbacks} == {"job.succeeded"}
    assert set(deployment.receiver.ids().values()) == {1}
    # A receiver checks the signature's time with its own clock.
    now = time.time()  # noqa: TID251
    assert all(abs(now - int(each.headers["webhook-timestamp"])) < 90 for each in deployment.receiver.callbacks)


def test_clocks_of_processes_step(deployment: Deployment, clocks: Clocks) -> None:
    stores = deployment.runtime.stores
    key = stores.api_keys.create("t", frozenset(Scope), stores.clock(), timedelta(minutes=30))

    def steps() -> None:
        for seconds in (HOUR_S, -HOUR_S, DAY_S, -DAY_S):
            for name in ("api", "poll", "deliver"):
                clocks[name].step(seconds)
            time.sleep(1.5)
            assert BridgeClient(deployment.bridge.url, key).call("GET", "/v1/registrations")["items"] == []

    run_jobs(deployment, steps)


@pytest.mark.parametrize("seconds", [HOUR_S, -DAY_S])
def test_redis_clock_leaps_for_good(deployment: Deployment, clocks: Clocks, seconds: int) -> None:
    def leap() -> None:
        clocks["redis"].step(seconds)
        wait_until(lambda: deployment.redis.hget(keys.clock(), "correction"), timeout=10, what="the correction")

    run_jobs(deployment, leap)
    assert int(deployment.redis.hget(keys.clock(), "correction") or 0) == pytest.approx(-seconds * 1000, abs=2_000)
