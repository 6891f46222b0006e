"""Processes that are told to stop, and whose surroundings fail: Redis, settings, the parent, the reader of their log.

tests/faults has what kills and suspends them.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.devkit.bridge import COMMAND, Bridge
from app.devkit.processes import PATIENCE_S, Process, start, wait_until
from app.store.agenda import DELIVER, POLL
from tests.support.receiver import Receiver
from tests.support.tcp_proxy import TcpProxy
from tests.test_logs import unread_pipe
from tests.whole.conftest import QUICK, Deployment
from workers.rq_queues import enqueue_drain, queue

pytestmark = pytest.mark.slow  # starts processes

STOPS_WITHIN_S = 20.0  # tests run on busy machines; alone, a worker needs one to ten, and once needed a minute
AWAY_S = 20.0  # RQ's fifth pause would begin before, and end after it
BACK_WITHIN_S = 3.0


def children(pid: int) -> list[int]:
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if (fields := _stat(path)) and fields[1] == str(pid) and fields[0] != "Z"
    ]


def _stat(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
    return []


def command_line(pid: int) -> str:
    """Empty if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    return ""


def dispatcher_of(worker: Process) -> int:
    """Its process once it runs our code: a worker has other children, too, and each begins as a copy of the worker."""

    def dispatchers() -> list[int]:
        return [pid for pid in children(worker.pid) if "dispatcher" in command_line(pid)]

    return wait_until(dispatchers, what="a dispatcher")[0]


def is_alive(pid: int) -> bool:
    return _stat(Path(f"/proc/{pid}/stat"))[:1] not in ([], ["Z"])


def environment_of(pid: int) -> dict[str, str]:
    given = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8").split("\0")
    return dict(variable.split("=", 1) for variable in given if variable)


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def own_bridge(tmp_path: Path) -> Iterator[Bridge]:
    """A bridge whose Redis the test may end."""
    with Bridge(tmp_path / "bridge", QUICK) as bridge:
        bridge.start_standin()
        yield bridge


@pytest.fixture
def ready(own_bridge: Bridge) -> Callable[[str], Process]:
    """Starts a worker, and waits until it and its dispatcher are at work."""

    def start_one(kind: str, **settings: str) -> Process:
        worker = own_bridge.start_worker(kind, settings)
        log = own_bridge.logs / f"worker-{kind}.log"
        wait_until(lambda: "worker.started" in log.read_text(encoding="utf-8"), what=f"worker {kind}")
        runtime = Runtime(load({"BRIDGE_REDIS_URL": own_bridge.redis.url}))
        wait_until(lambda: runtime.stores.redis.exists("cph:lock:dispatcher"), what="an active dispatcher")
        runtime.stores.redis.close()
        return worker

    return start_one


@pytest.mark.parametrize(("mode", "waits_s"), [("refusing", 4.0), ("silent", 0.0)])
def test_processes_that_are_stopped_while_redis_is_away_end_soon(
    own_bridge: Bridge, ready, mode: str, waits_s: float
) -> None:
    with TcpProxy(own_bridge.redis.socket) as proxy:
        workers = [ready(kind, BRIDGE_REDIS_URL=f"redis://127.0.0.1:{proxy.port}") for kind in (POLL, DELIVER)]
        dispatchers = [dispatcher_of(worker) for worker in workers]
        proxy.mode = mode
        away_at = monotonic()
        wait_until(lambda: monotonic() >= away_at + waits_s, what="the moment of the stop")
        for worker in workers:
            os.kill(worker.pid, signal.SIGTERM)
        for worker in workers:
            wait_until(lambda: worker.exit_code is not None, timeout=STOPS_WITHIN_S, what="its end")  # noqa: B023
    assert [worker.exit_code for worker in workers] == [0, 0]
    assert not any(map(is_alive, dispatchers))
    for kind in (POLL, DELIVER):
        events = [line["event"] for line in lines(own_bridge.logs / f"worker-{kind}.log")]
        assert events[-1] == "worker.stopped"
        assert "process.failed" not in events


@pytest.mark.parametrize("kind", ["poll", "deliver"])
def test_a_worker_told_to_stop_finishes_what_is_in_hand(deployment: Deployment, kind: str) -> None:
    processes = {each: deployment.start_worker(each) for each in ("poll", "deliver")}
    registrations = [deployment.register(deployment.job(duration_s=1)) for _ in range(20)]
    deployment.receiver.wait_for(1)
    assert processes[kind].stop(PATIENCE_S) == 0
    deployment.start_worker(kind)
    deployment.wait_until_delivered(*registrations)
    assert set(deployment.receiver.ids().values()) == {1}


def test_a_worker_that_starts_before_redis_waits_for_it(deployment: Deployment) -> None:
    deployment.bridge.redis.stop()
    worker = deployment.start_worker("poll")
    wait_until(lambda: "waits" in deployment.log_of("worker-poll"), what="a log line about Redis")
    assert worker.exit_code is None
    deployment.bridge.redis.start()
    deployment.start_worker("deliver")
    registration = deployment.register(deployment.job())
    deployment.wait_until_delivered(registration)


def test_a_worker_that_lacks_a_setting_says_so_and_ends(deployment: Deployment) -> None:
    worker = deployment.start_worker("poll", BRIDGE_CPH_PROJECT_ID="")
    wait_until(lambda: worker.exit_code is not None, what="the worker's end")
    assert worker.exit_code == 2
    assert "set BRIDGE_CPH_PROJECT_ID" in deployment.log_of("worker-poll")


def test_work_goes_on_within_seconds_of_the_return_of_redis(own_bridge: Bridge, ready, receiver: Receiver) -> None:
    """RQ's pauses between two attempts to connect double up to a minute."""
    own_bridge.start_api()
    with TcpProxy(own_bridge.redis.socket) as proxy:
        for kind in (POLL, DELIVER):
            ready(kind, BRIDGE_REDIS_URL=f"redis://127.0.0.1:{proxy.port}")
        proxy.mode = "refusing"
        away_at = monotonic()
        body = {"job_id": "unknown", "callback_url": receiver.url, "secret": own_bridge.secret, "deadline_s": 60}
        own_bridge.call("POST", "/v1/registrations", body)
        wait_until(lambda: monotonic() > away_at + AWAY_S, what="the return of Redis")
        proxy.mode = "open"
        back_at = monotonic()
        # The job is lost BRIDGE_LOST_GRACE_S (1 s) after its first poll.
        wait_until(lambda: receiver.callbacks, what="the callback")
        assert monotonic() - back_at < BACK_WITHIN_S + float(QUICK["BRIDGE_LOST_GRACE_S"]) + 1


def test_an_api_that_was_told_often_to_reload_ends_soon(own_bridge: Bridge) -> None:
    api = own_bridge.start_api()
    for number in range(60):
        os.kill(api.pid, signal.SIGHUP)
        sent_at = monotonic()
        wait_until(lambda: monotonic() >= sent_at + 0.05, what=f"the moment of signal {number}")  # noqa: B023
    os.kill(api.pid, signal.SIGTERM)
    wait_until(lambda: api.exit_code is not None, timeout=STOPS_WITHIN_S, what="its end")
    assert api.exit_code == 0


def test_an_api_that_is_told_to_reload_a_broken_file_keeps_what_it_knows(tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants: {ann: {quotas: {requests: 9}}}", encoding="utf-8")
    with Bridge(tmp_path / "bridge", QUICK | {"BRIDGE_TENANTS_FILE": str(file)}) as bridge:
        api = bridge.start_api()
        bridge.call("GET", "/v1/registrations")
        file.write_text("tenants: [", encoding="utf-8")
        os.kill(api.pid, signal.SIGHUP)
        log = bridge.logs / "api.log"

        def tells() -> bool:
            bridge.call("GET", "/v1/registrations")
            return "tenants.not_reloaded" in log.read_text(encoding="utf-8")

        wait_until(tells, what="a log line about the broken file")


@pytest.mark.parametrize("after_s", [0.0, 0.2])
def test_a_dispatcher_never_outlives_its_worker(own_bridge: Bridge, after_s: float) -> None:
    worker = own_bridge.start_worker(POLL)
    dispatcher = dispatcher_of(worker)
    forked_at = monotonic()
    wait_until(lambda: monotonic() >= forked_at + after_s, what="the moment of the kill")
    os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(dispatcher), timeout=STOPS_WITHIN_S, what="its end")


def test_a_dispatcher_knows_no_secret_but_that_of_redis(own_bridge: Bridge, ready, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("token-for-tests", encoding="utf-8")
    given = {
        "BRIDGE_OPERATOR_URL": "https://operator.example/secret",
        "BRIDGE_OPERATOR_SECRET": own_bridge.secret,
        "BRIDGE_CPH_TOKEN_FILE": str(secret),
        "PASSWORD_OF_A_PROJECT": "secret",
    }
    own = environment_of(dispatcher_of(ready(DELIVER, **given)))
    assert own["BRIDGE_REDIS_URL"] == own_bridge.redis.url
    assert own["BRIDGE_LEASE_S"] == QUICK["BRIDGE_LEASE_S"]
    kept_back = {"BRIDGE_BOOTSTRAP_KEY", "BRIDGE_SECRET_KEYS", "BRIDGE_IAM_PASSWORD", *given}
    assert own.keys() & kept_back == set()


def test_a_worker_takes_its_own_kind_alone_and_no_commands(deployment: Deployment) -> None:
    """A stranger who can write to Redis asks the poll worker to deliver, then to end."""
    deployment.start_worker("poll")
    registered = deployment.register(deployment.job())
    wait_until(lambda: deployment.get_registration(registered)["deliveries"]["pending"] == 1, what="a delivery")
    stores = deployment.runtime.stores
    enqueue_drain(queue(POLL, stores), DELIVER, 60)
    wait_until(lambda: "which alone is allowed here" in deployment.log_of("worker-poll"), what="the refusal")
    assert deployment.receiver.callbacks == []
    assert stores.rq_redis.pubsub_channels() == []
    assert stores.rq_redis.pubsub_numpat() == 0


def test_work_goes_on_while_nobody_reads_the_log(own_bridge: Bridge, receiver: Receiver, tmp_path: Path) -> None:
    own_bridge.start_api()
    with unread_pipe(tmp_path) as (pipe, _), ExitStack() as stack:
        for kind in (POLL, DELIVER):
            stack.enter_context(start([COMMAND, "worker", kind], own_bridge.environment, log=pipe))
        # Each job's end and each attempt is a line; the pipe has room for some twenty.
        for number in range(100):
            body = {"job_id": f"unknown-{number}", "callback_url": receiver.url, "secret": own_bridge.secret}
            own_bridge.call("POST", "/v1/registrations", body)
        wait_until(lambda: len(receiver.callbacks) == 100, what="all callbacks")
