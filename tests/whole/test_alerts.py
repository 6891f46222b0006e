"""Every alert fires, with the processes of production and a real Prometheus."""

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
from tests.whole.conftest import Deployment

pytestmark = pytest.mark.slow


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    prometheus = Prometheus(tmp_path)
    with prometheus.process:
        yield prometheus


@pytest.fixture
def scrape(prometheus: Prometheus, deployment: Deployment) -> Callable[..., None]:
    """Makes Prometheus scrape these processes and no others."""

    def scrape_processes(*processes: str) -> None:
        prometheus.scrape([urlsplit(deployment.metrics_url(process)).netloc for process in processes])

    return scrape_processes


def test_a_bridge_of_which_nothing_is_heard(deployment: Deployment, prometheus: Prometheus, scrape) -> None:
    worker = deployment.start_worker("deliver")
    scrape("worker-deliver")
    prometheus.is_over("BridgeGone")
    worker.kill()
    prometheus.fires("BridgeGone")
    deployment.start_worker("deliver")
    scrape("worker-deliver")
    prometheus.is_over("BridgeGone")


def test_workers_that_are_missing(deployment: Deployment, prometheus: Prometheus, scrape) -> None:
    scrape("api")
    deployment.register(deployment.job(duration_s=600))
    prometheus.fires("BridgeNoWorker", "BridgePollsLate", "BridgeNobodyPolls")
    deployment.start_worker("poll")
    scrape("api", "worker-poll")
    prometheus.is_over("BridgePollsLate", "BridgeNobodyPolls")
    deployment.register(deployment.job())
    prometheus.fires("BridgeDeliveriesLate")
    deployment.start_worker("deliver")
    prometheus.is_over("BridgeDeliveriesLate", "BridgeNoWorker")
    assert prometheus.firing() == set()


def test_receivers_that_refuse_and_fail(running_deployment: Deployment, prometheus: Prometheus, scrape) -> None:
    """The test sets the start of the failures and of the hold: it cannot wait for days."""
    scrape("api", "worker-deliver")
    running_deployment.receiver.fail(401)
    for _ in range(4):
        running_deployment.register(running_deployment.job())
    prometheus.fires("BridgeDeadGrow", "BridgeDead")
    running_deployment.receiver.fail(500)
    running_deployment.register(running_deployment.job())
    (lane,) = running_deployment.redis.scan_iter("cph:deliver:lane:*")
    wait_until(lambda: running_deployment.redis.hget(lane, "failing_since"), what="a failure")
    running_deployment.redis.hset(lane, "failing_since", 1)
    for _ in range(6):
        running_deployment.register(running_deployment.job())
    prometheus.fires("BridgeDestinationDisabled")
    running_deployment.redis.hset(lane, "held", 1)
    prometheus.fires("BridgeHeldForLong")
    running_deployment.receiver.heal()
    (destination,) = running_deployment.bridge.call("GET", "/v1/destinations")["items"]
    running_deployment.bridge.call("POST", f"/v1/destinations/{destination['id']}/resume", {})
    prometheus.is_over("BridgeDestinationDisabled", "BridgeHeldForLong")


def test_a_cloud_that_refuses_and_credentials_that_end(
    running_deployment: Deployment, prometheus: Prometheus, scrape
) -> None:
    scrape("api", "worker-poll")
    running_deployment.wait_until_delivered(running_deployment.register(running_deployment.job()))
    try:
        running_deployment.standin.call("POST", "/_standin/faults", {"kind": "forbidden", "for_s": 3_600})
        running_deployment.register(running_deployment.job())
        prometheus.fires("BridgeCphRefuses")
        # CPH is not polled meanwhile, so no worker overwrites this with the expiry of the actual token.
        running_deployment.redis.hset(
            "cph:project:default", "expires", to_ms(running_deployment.clock() + timedelta(minutes=1))
        )
        prometheus.fires("BridgeCredentialsEnd")
    finally:
        running_deployment.standin.call("DELETE", "/_standin/faults")


def test_a_redis_that_is_full_or_unavailable(deployment: Deployment, prometheus: Prometheus, scrape) -> None:
    scrape("api")
    deployment.redis.config_set("maxmemory", int(deployment.redis.info("memory")["used_memory"] * 1.1))
    try:
        prometheus.fires("BridgeRedisNearlyFull")
    finally:
        deployment.redis.config_set("maxmemory", 0)
    prometheus.is_over("BridgeRedisNearlyFull")
    pid = deployment.redis.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: both_alerts_fire(deployment, prometheus), timeout=90, what="the alerts")
    finally:
        os.kill(pid, signal.SIGCONT)
    prometheus.is_over("BridgeRedisAway")


def test_data_that_are_damaged_and_lost(deployment: Deployment, prometheus: Prometheus, scrape) -> None:
    scrape("api")
    deployment.start_worker("poll")
    deployment.redis.set("cph:watch:default:damaged", "x")
    prometheus.fires("BridgeUnreadableRecords")
    deployment.redis.flushall()
    prometheus.fires("BridgeDataLost")
    prometheus.is_over("BridgeUnreadableRecords")
    deployment.redis.hdel("cph:data", "lost")
    prometheus.is_over("BridgeDataLost")


def both_alerts_fire(deployment: Deployment, prometheus: Prometheus) -> bool:
    """Calls the API first, so that there are answers to count."""
    with suppress(ApiRefused, OSError):  # the answer may take longer than the client's timeout
        deployment.bridge.call("GET", "/v1/registrations")
    return prometheus.firing() >= {"BridgeRedisAway", "BridgeApiFails"}
