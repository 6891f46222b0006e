"""API and workers on a Redis that does not fit: they log the reason and end with exit code 2."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from redis import Redis

from app.devkit.processes import PATIENCE_S, Process, start, wait_until
from app.store.engine.refusals import RIGHTS
from tests.support.ports import free_port
from tests.support.redis_group import CLIENTS, PASSWORD, USER
from tests.support.unfit_redis import EVICTING, UNFIT, redis_on

pytestmark = pytest.mark.slow

API, POLL, DELIVER = ("app.api",), ("workers", "poll"), ("workers", "deliver")
# A selection. tests/store/test_fitness.py tests all of UNFIT.
KINDS = ("old", "cluster", "evicting", "sentinel", "no scripts", "no info")


class LoggedProcess:
    """A process of the bridge and its log."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> list[dict[str, Any]]:
        """Raises ValueError if a line is no JSON, so also for a traceback."""
        return [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]

    def lines_of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == event]

    def wait_for_line(self, event: str) -> dict[str, Any]:
        return wait_until(lambda: self.lines_of(event), what=event)[0]

    def exit_code(self) -> int:
        wait_until(lambda: self.process.exit_code is not None, what="its end")
        return self.process.kill()


@contextmanager
def started(
    command: tuple[str, ...], environment: dict[str, str], folder: Path, **settings: str
) -> Iterator[LoggedProcess]:
    log = folder / f"{'-'.join(command)}.log"
    settings = {"BRIDGE_API_WORKERS": "1"} | settings
    with start([sys.executable, "-m", *command], environment | settings, log=log) as process:
        yield LoggedProcess(process, log)


@pytest.mark.parametrize("kind", KINDS)
def test_api_and_workers_name_what_is_wrong_and_end(environment: dict[str, str], kind: str, tmp_path: Path) -> None:
    unfit = UNFIT[kind]
    with unfit.opened(tmp_path / "redis") as url:
        settings_of_process = environment | {"BRIDGE_REDIS_URL": url}
        with started(API, settings_of_process, tmp_path) as api, started(POLL, settings_of_process, tmp_path) as poll:
            for process in (api, poll):
                assert process.exit_code() == 2
                [line] = process.log
                assert (line["event"], line["level"]) == ("redis.unfit", "critical")
                assert unfit.words in line["reason"]
                assert PASSWORD not in line["reason"]


@pytest.mark.parametrize("command", [POLL, DELIVER])
def test_a_worker_checks_a_redis_that_comes_later_and_writes_nothing_there(
    environment: dict[str, str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    port = free_port()
    settings_of_process = environment | {"BRIDGE_REDIS_URL": f"redis://{CLIENTS}:{port}/0"}
    with started(command, settings_of_process, tmp_path) as worker:
        worker.wait_for_line("worker.waits")
        with redis_on(tmp_path / "redis", port, *EVICTING) as url, Redis.from_url(url) as redis:
            assert worker.exit_code() == 2
            assert redis.keys("*") == []
    assert UNFIT["evicting"].words in worker.lines_of("redis.unfit")[0]["reason"]
    assert not [line for line in worker.log if "exception" in line]


def test_a_worker_checks_the_redis_that_comes_after(environment: dict[str, str], tmp_path: Path) -> None:
    """As after a failover: RQ reconnects by itself, but the dispatcher checks the new server."""
    port = free_port()
    settings_of_process = environment | {"BRIDGE_REDIS_URL": f"redis://{CLIENTS}:{port}/0"}
    with started(DELIVER, settings_of_process, tmp_path) as worker:
        with redis_on(tmp_path / "first", port) as url, Redis.from_url(url) as redis:
            wait_until(lambda: redis.exists("rq:workers"), what="RQ's worker")
            wait_until(lambda: redis.exists("cph:lock:dispatcher"), what="its dispatcher")
        with redis_on(tmp_path / "second", port, *EVICTING):
            assert worker.exit_code() == 2
    assert UNFIT["evicting"].words in worker.lines_of("redis.unfit")[0]["reason"]
    assert len(worker.lines_of("redis.unfit")) <= 2  # one line from the worker, one from its dispatcher
    assert not [line for line in worker.log if "exception" in line]


def test_the_api_is_not_ready_before_it_has_seen_a_redis_that_is_fit(
    environment: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    settings_of_process = environment | {"BRIDGE_REDIS_URL": f"redis://{CLIENTS}:{port}/0"}
    with started(API, settings_of_process, tmp_path) as api:
        listening = api.wait_for_line("api.listening")
        [url], probes = listening["addresses"], listening["probes"]
        key = {"Authorization": f"Bearer {environment['BRIDGE_BOOTSTRAP_KEY']}"}

        def statuses() -> list[int]:
            urls = (f"{probes}/healthz", f"{probes}/readyz", f"{url}/readyz", f"{url}/v1/registrations")
            return [requests.get(each, headers=key, timeout=30).status_code for each in urls]

        def is_up() -> bool:
            return "cph_bridge_redis_up 1.0" in requests.get(listening["metrics"], timeout=30).text.splitlines()

        assert statuses() == [200, 503, 503, 503]
        assert api.lines_of("redis.unfit") == []
        with redis_on(tmp_path / "redis", port, *EVICTING) as redis_url, Redis.from_url(redis_url) as redis:
            assert statuses() == [200, 503, 503, 503]
            assert statuses() == [200, 503, 503, 503]
            assert len(api.lines_of("redis.unfit")) == 1
            assert not is_up()
            redis.config_set("maxmemory-policy", "noeviction")
            assert statuses() == [200, 200, 200, 200]
            assert is_up()
            redis.config_set("maxmemory-policy", "allkeys-lru")
            assert statuses() == [200, 200, 200, 200]
        assert statuses()[:2] == [200, 503]
        assert api.process.stop(PATIENCE_S) == 0


def test_a_right_that_is_taken_away_is_told_and_the_bridge_goes_on_once_it_is_back(
    environment: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    user = ("--user", USER, "on", f">{PASSWORD}", *RIGHTS.split())
    login = {"BRIDGE_REDIS_URL": f"redis://{USER}:{PASSWORD}@{CLIENTS}:{port}/0"}
    with (
        redis_on(tmp_path / "redis", port, *user) as url,
        Redis.from_url(url) as redis,
        started(API, environment | login, tmp_path) as api,
        started(DELIVER, environment | login, tmp_path) as worker,
    ):
        [address] = api.wait_for_line("api.listening")["addresses"]
        worker.wait_for_line("worker.started")
        key = {"Authorization": f"Bearer {environment['BRIDGE_BOOTSTRAP_KEY']}"}

        def status() -> int:
            return requests.get(f"{address}/v1/registrations", headers=key, timeout=30).status_code

        wait_until(lambda: status() == 200, what="a registration list")
        redis.acl_setuser(USER, enabled=True, commands=["-@all"])
        assert status() == 503
        waits = worker.wait_for_line("worker.waits")
        redis.acl_setuser(USER, enabled=True, commands=["+@all", "-@admin", "-@dangerous", "+info", "+client|list"])
        wait_until(lambda: status() == 200, what="a registration list")
        assert worker.process.exit_code is None
        worker.process.stop(PATIENCE_S)
        api.process.stop(PATIENCE_S)
    assert "the user of BRIDGE_REDIS_URL may not call" in waits["reason"]
    assert "the user of BRIDGE_REDIS_URL may not call" in api.lines_of("redis.unfit")[0]["reason"]
    assert not [line for process in (api, worker) for line in process.log if "exception" in line]
