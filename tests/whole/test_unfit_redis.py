"""API and workers on a Redis that is not such as the bridge needs it: they say so in words, and end with 2."""

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
from tests.support.redis_group import CLIENTS, PASSWORD, free_port
from tests.support.unfit_redis import EVICTING, UNFIT, redis_on

pytestmark = pytest.mark.slow

API, POLL, DELIVER = ("app.api",), ("workers", "poll"), ("workers", "deliver")
# Each by itself, of those that tests/store/test_fitness.py has all of.
KINDS = ("old", "cluster", "evicting", "sentinel", "no scripts", "no info")


class Started:
    """A process of the bridge, and its log."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> list[dict[str, Any]]:
        """ValueError where a line is no JSON, so for a traceback too."""
        return [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == event]

    def wait_until_said(self, event: str) -> dict[str, Any]:
        return wait_until(lambda: self.said(event), what=event)[0]

    def exit_code(self) -> int:
        wait_until(lambda: self.process.exit_code is not None, what="its end")
        return self.process.kill()


@contextmanager
def started(command: tuple[str, ...], environment: dict[str, str], folder: Path, **settings: str) -> Iterator[Started]:
    log = folder / f"{'-'.join(command)}.log"
    settings = {"BRIDGE_API_WORKERS": "1"} | settings
    with start([sys.executable, "-m", *command], environment | settings, log=log) as process:
        yield Started(process, log)


@pytest.mark.parametrize("kind", KINDS)
def test_api_and_workers_name_what_is_wrong_and_end(environment: dict[str, str], kind: str, tmp_path: Path) -> None:
    unfit = UNFIT[kind]
    with unfit.opened(tmp_path / "redis") as url:
        behind = environment | {"BRIDGE_REDIS_URL": url}
        with started(API, behind, tmp_path) as api, started(POLL, behind, tmp_path) as poll:
            for one in (api, poll):
                assert one.exit_code() == 2
                [line] = one.log
                assert (line["event"], line["level"]) == ("redis.unfit", "critical")
                assert unfit.words in line["reason"]
                assert PASSWORD not in line["reason"]


@pytest.mark.parametrize("command", [POLL, DELIVER])
def test_a_worker_looks_at_a_redis_that_comes_later_and_writes_nothing_there(
    environment: dict[str, str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    port = free_port()
    behind = environment | {"BRIDGE_REDIS_URL": f"redis://{CLIENTS}:{port}/0"}
    with started(command, behind, tmp_path) as worker:
        worker.wait_until_said("worker.waits")
        with redis_on(tmp_path / "redis", port, *EVICTING) as url, Redis.from_url(url) as redis:
            assert worker.exit_code() == 2
            assert redis.keys("*") == []
    assert UNFIT["evicting"].words in worker.said("redis.unfit")[0]["reason"]
    assert not [line for line in worker.log if "exception" in line]


def test_a_worker_looks_at_the_redis_that_comes_after(environment: dict[str, str], tmp_path: Path) -> None:
    """As after a failover: RQ comes back to it by itself, but the dispatcher looks who it is."""
    port = free_port()
    behind = environment | {"BRIDGE_REDIS_URL": f"redis://{CLIENTS}:{port}/0"}
    with started(DELIVER, behind, tmp_path) as worker:
        with redis_on(tmp_path / "first", port) as url, Redis.from_url(url) as redis:
            wait_until(lambda: redis.exists("rq:workers"), what="RQ's worker")
            wait_until(lambda: redis.exists("cph:lock:dispatcher"), what="its dispatcher")
        with redis_on(tmp_path / "second", port, *EVICTING):
            assert worker.exit_code() == 2
    assert UNFIT["evicting"].words in worker.said("redis.unfit")[0]["reason"]
    assert len(worker.said("redis.unfit")) <= 2  # the worker's and its dispatcher's
    assert not [line for line in worker.log if "exception" in line]


def test_the_api_is_not_ready_before_it_has_seen_a_redis_that_is_fit(
    environment: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    behind = environment | {"BRIDGE_REDIS_URL": f"redis://{CLIENTS}:{port}/0"}
    with started(API, behind, tmp_path) as api:
        listens = api.wait_until_said("api.listening")
        [url], probes = listens["addresses"], listens["probes"]
        key = {"Authorization": f"Bearer {environment['BRIDGE_BOOTSTRAP_KEY']}"}

        def answers() -> list[int]:
            asked = (f"{probes}/healthz", f"{probes}/readyz", f"{url}/readyz", f"{url}/v1/registrations")
            return [requests.get(each, headers=key, timeout=30).status_code for each in asked]

        def is_up() -> bool:
            return "cph_bridge_redis_up 1.0" in requests.get(listens["metrics"], timeout=30).text.splitlines()

        assert answers() == [200, 503, 503, 503]
        assert api.said("redis.unfit") == []
        with redis_on(tmp_path / "redis", port, *EVICTING) as redis_url, Redis.from_url(redis_url) as redis:
            assert answers() == [200, 503, 503, 503]
            assert answers() == [200, 503, 503, 503]
            assert len(api.said("redis.unfit")) == 1
            assert not is_up()
            redis.config_set("maxmemory-policy", "noeviction")
            assert answers() == [200, 200, 200, 200]
            assert is_up()
            redis.config_set("maxmemory-policy", "allkeys-lru")
            assert answers() == [200, 200, 200, 200]
        assert answers()[:2] == [200, 503]
        assert api.process.stop(PATIENCE_S) == 0
