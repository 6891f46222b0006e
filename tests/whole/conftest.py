"""Fixtures that run the processes of production beside the stand-in and a receiver."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.devkit.bridge import Bridge, StubProcess
from app.devkit.client import BridgeClient
from app.devkit.processes import PATIENCE_S, Process, wait_until
from app.domain.access import Scope
from tests.support.commands import CommandRunner
from tests.support.paths import ROOT
from tests.support.receiver import Receiver
from workers.rq_queues import enqueue_drain, queue

QUICK = {
    "BRIDGE_POLL_MIN_S": "0.2",
    "BRIDGE_POLL_MAX_S": "0.5",
    "BRIDGE_LOST_GRACE_S": "1",
    "BRIDGE_REQUEST_QUIET_S": "1",
    "BRIDGE_LEASE_S": "3",
    "BRIDGE_ATTEMPT_DEADLINE_S": "2",
    "BRIDGE_RETRY_SCHEDULE": "0.2,0.5,1,1,1",
    "BRIDGE_CPH_RATE": "1000",
    "BRIDGE_WORKER_THREADS": "8",
    "BRIDGE_API_WORKERS": "1",
    "BRIDGE_TEMPLATES_DIR": str(ROOT / "docs" / "templates"),
}


class Deployment:
    """A bridge with its stand-in and a receiver. The test starts the workers."""

    def __init__(self, bridge: Bridge, standin: StubProcess, receiver: Receiver) -> None:
        self.bridge = bridge
        self.standin = standin.client
        self.about_cph = standin.about
        self.receiver = receiver
        self._runtime = Runtime(load({"BRIDGE_REDIS_URL": bridge.redis.url}))
        self.clock = self._runtime.stores.clock
        self.redis = self._runtime.stores.redis
        self._workers: list[Process] = []
        self._metrics_urls_before: dict[str, int] = {}
        self._log_lengths_before = {log.stem: len(log.read_text(encoding="utf-8")) for log in bridge.logs.glob("*.log")}

    @property
    def runtime(self) -> Runtime:
        """A runtime on the deployment's Redis. All other settings have their defaults."""
        return self._runtime

    def start_worker(self, kind: str, **settings: str) -> Process:
        self._metrics_urls_before[f"worker-{kind}"] = self._whole_log(f"worker-{kind}").count('"metrics": ')
        process = self.bridge.start_worker(kind, settings)
        self._workers.append(process)
        return process

    def end(self) -> None:
        """Kills the workers and empties Redis."""
        for process in self._workers:
            process.kill()
        self._runtime.stores.redis.flushall()
        self._runtime.stores.redis.close()
        self._runtime.stores.rq_redis.close()

    def job(self, **script: Any) -> str:
        """Creates a job at the stand-in and returns its id. The job has ended unless `script` has another duration."""
        job_id: str = self.standin.call("POST", "/_standin/jobs", {"duration_s": 0} | script)["jobs"][0]["job_id"]
        return job_id

    def register(self, job_id: str | None = None, **fields: Any) -> dict[str, Any]:
        """Registers for one job, or for the jobs or request that the fields name."""
        body = {"job_id": job_id, "callback_url": self.receiver.url, "secret": self.bridge.secret} | fields
        made: dict[str, Any] = self.bridge.call("POST", "/v1/registrations", body)
        return made

    def as_tenant(self, tenant: str) -> BridgeClient:
        """A client of the API with a new key of that tenant."""
        key = self._runtime.stores.api_keys.create(tenant, frozenset({Scope.ADMIN}), self._runtime.stores.clock())
        return BridgeClient(self.bridge.url, key)

    def calls(self) -> int:
        """How many ShowJob and ListJobs calls the stand-in has received so far."""
        counted = self.standin.call("GET", "/_standin/calls")
        return int(counted["show_job"] + counted["list_jobs"])

    def poll_count(self) -> int:
        """How often an answer of CPH has contained a job so far."""
        return sum(self.standin.call("GET", "/_standin/calls")["by_job"].values())

    def count_polled(self, job_ids: list[str]) -> int:
        """How many of these jobs an answer of CPH has contained."""
        return len(set(job_ids) & self.standin.call("GET", "/_standin/calls")["by_job"].keys())

    def get_registration(self, registration: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.bridge.call("GET", f"/v1/registrations/{registration['id']}")
        return found

    def attempts(self, registration: dict[str, Any]) -> list[dict[str, Any]]:
        """The attempts of the registration's first delivery."""
        found = self.bridge.call("GET", f"/v1/deliveries?registration_id={registration['id']}")
        delivery = self.bridge.call("GET", f"/v1/deliveries/{found['items'][0]['id']}")
        attempts: list[dict[str, Any]] = delivery["attempts"]
        return attempts

    def wait_until_delivered(self, *registrations: dict[str, Any], timeout: float = PATIENCE_S) -> None:
        """Waits until the API reports one delivered callback for each, and checks that the receiver has all of them."""
        for registration in registrations:
            wait_until(
                lambda: self.get_registration(registration)["deliveries"]["delivered"] == 1,  # noqa: B023 - called at once
                timeout=timeout,
                what=f"{registration['id']} delivered",
            )
        assert all(callback.verified_by(self.bridge.secret) for callback in self.receiver.callbacks)
        notified = {callback.event["data"]["registration_id"] for callback in self.receiver.callbacks}
        assert notified >= {registration["id"] for registration in registrations}

    def flood_with_rq_jobs(self, kind: str, count: int) -> None:
        for _ in range(count):
            enqueue_drain(queue(kind, self._runtime.stores), kind, 60)

    def queued_rq_jobs(self, kind: str) -> int:
        return queue(kind, self._runtime.stores).count

    def redis_values(self) -> list[str]:
        """Every key with its value, including RQ's keys."""
        redis = self._runtime.stores.redis
        return [f"{key} {self._value(key)}" for key in redis.scan_iter(count=1_000)]

    def _value(self, key: str) -> Any:
        redis = self._runtime.stores.redis
        match redis.type(key):
            case "string":
                return redis.get(key)
            case "hash":
                return self._runtime.stores.rq_redis.hgetall(key)
            case "list":
                return redis.lrange(key, 0, -1)
            case "set":
                return redis.smembers(key)
            case "zset":
                return redis.zrange(key, 0, -1)

    def log_of(self, process: str) -> str:
        """The lines since this test began: earlier tests have written to the same file."""
        return self._whole_log(process)[self._log_lengths_before.get(process, 0) :]

    def _whole_log(self, process: str) -> str:
        log = self.bridge.logs / f"{process}.log"
        return log.read_text(encoding="utf-8") if log.exists() else ""

    def metrics_of(self, process: str) -> str:
        """The page that Prometheus would scrape."""
        return requests.get(self.metrics_url(process), timeout=10).text

    def metrics_url(self, process: str) -> str:
        """If the process was started several times: the URL of the last one."""
        before = self._metrics_urls_before.get(process, 0)

        def logged_urls() -> list[str]:
            return re.findall(r'"metrics": "([^"]+)"', self._whole_log(process))[before:]

        return wait_until(logged_urls, what=f"the log line of {process} with the URL of its metrics")[-1]


@pytest.fixture(scope="session")
def bridge_and_standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bridge, StubProcess]]:
    """Redis, the stand-in and the API. All tests share them, as they take seconds to start."""
    with Bridge(tmp_path_factory.mktemp("whole") / "bridge", QUICK) as bridge:
        standin = bridge.start_standin()
        bridge.start_api()
        yield bridge, standin


@pytest.fixture
def deployment(bridge_and_standin: tuple[Bridge, StubProcess], receiver: Receiver) -> Iterator[Deployment]:
    """A bridge without workers. The test decides which workers start and are killed."""
    deployment = Deployment(*bridge_and_standin, receiver)
    yield deployment
    deployment.end()


@pytest.fixture
def running_deployment(deployment: Deployment) -> Deployment:
    """A bridge with a poll worker and a deliver worker."""
    deployment.start_worker("poll")
    deployment.start_worker("deliver")
    return deployment


@pytest.fixture
def commands(deployment: Deployment) -> CommandRunner:
    """The command line, with URL and key of a bridge without workers."""
    return CommandRunner(deployment)
