"""Every alert, made to fire with the processes of production and a real Prometheus."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.devkit.client import ApiRefused
from app.devkit.processes import wait_until
from app.domain.times import to_ms
from tests.support.prometheus import Prometheus
from tests.whole.conftest import Whole

pytestmark = pytest.mark.slow


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    prometheus = Prometheus(tmp_path)
    with prometheus.process:
        yield prometheus


@pytest.fixture
def aim(prometheus: Prometheus, whole: Whole) -> Callable[..., None]:
    """At these processes, and no others."""

    def aim(*processes: str) -> None:
        prometheus.aim([urlsplit(whole.metrics_url(process)).netloc for process in processes])

    return aim


def test_a_bridge_of_which_nothing_is_heard(whole: Whole, prometheus: Prometheus, aim) -> None:
    worker = whole.start_worker("deliver")
    aim("worker-deliver")
    prometheus.is_over("BridgeGone")
    worker.kill()
    prometheus.fires("BridgeGone")
    whole.start_worker("deliver")
    aim("worker-deliver")
    prometheus.is_over("BridgeGone")


def test_workers_that_are_missing(whole: Whole, prometheus: Prometheus, aim) -> None:
    aim("api")
    whole.register(whole.job(duration_s=600))
    prometheus.fires("BridgeNoWorker", "BridgePollsLate", "BridgeNobodyPolls")
    whole.start_worker("poll")
    aim("api", "worker-poll")
    prometheus.is_over("BridgePollsLate", "BridgeNobodyPolls")
    whole.register(whole.job())
    prometheus.fires("BridgeDeliveriesLate")
    whole.start_worker("deliver")
    prometheus.is_over("BridgeDeliveriesLate", "BridgeNoWorker")
    assert prometheus.firing() == set()


def test_receivers_that_refuse_and_fail(workers: Whole, prometheus: Prometheus, aim) -> None:
    """The five days are made by hand."""
    aim("api", "worker-deliver")
    workers.receiver.fail(401)
    for _ in range(4):
        workers.register(workers.job())
    prometheus.fires("BridgeDeadGrow")
    workers.receiver.fail(500)
    workers.register(workers.job())
    (lane,) = workers.redis.scan_iter("cph:deliver:lane:*")
    wait_until(lambda: workers.redis.hget(lane, "failing_since"), what="a failure")
    workers.redis.hset(lane, "failing_since", 1)
    for _ in range(6):
        workers.register(workers.job())
    prometheus.fires("BridgeDestinationDisabled")
    workers.receiver.heal()
    (destination,) = workers.bridge.call("GET", "/v1/destinations")["items"]
    workers.bridge.call("POST", f"/v1/destinations/{destination['id']}/resume", {})
    prometheus.is_over("BridgeDestinationDisabled")


def test_a_cloud_that_refuses_and_credentials_that_end(workers: Whole, prometheus: Prometheus, aim) -> None:
    aim("api", "worker-poll")
    workers.wait_until_delivered(workers.register(workers.job()))
    try:
        workers.standin.call("POST", "/_standin/faults", {"kind": "forbidden", "for_s": 3_600})
        workers.register(workers.job())
        prometheus.fires("BridgeCphRefuses")
        # Nobody asks meanwhile, so nobody notes another end: that of the token that was there before.
        workers.redis.hset("cph:project:default", "expires", to_ms(workers.clock() + timedelta(minutes=1)))
        prometheus.fires("BridgeCredentialsEnd")
    finally:
        workers.standin.call("DELETE", "/_standin/faults")


def test_a_redis_that_is_full_or_away(whole: Whole, prometheus: Prometheus, aim) -> None:
    aim("api")
    whole.redis.config_set("maxmemory", int(whole.redis.info("memory")["used_memory"] * 1.1))
    try:
        prometheus.fires("BridgeRedisNearlyFull")
    finally:
        whole.redis.config_set("maxmemory", 0)
    prometheus.is_over("BridgeRedisNearlyFull")
    pid = whole.redis.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: fails(whole, prometheus), timeout=90, what="the alerts")
    finally:
        os.kill(pid, signal.SIGCONT)
    prometheus.is_over("BridgeRedisAway")


def fails(whole: Whole, prometheus: Prometheus) -> bool:
    """Callers go on, so that there are answers to count."""
    with suppress(ApiRefused, OSError):  # it may take longer than they wait
        whole.bridge.call("GET", "/v1/registrations")
    return prometheus.firing() >= {"BridgeRedisAway", "BridgeApiFails"}
