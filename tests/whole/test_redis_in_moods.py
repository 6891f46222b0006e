"""Ten tenants register at once while Redis in turn refuses connections, does not answer, and is slow."""

import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import requests

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.devkit.processes import start, wait_until
from app.devkit.redis_server import RedisServer
from app.domain.access import Scope
from tests.support.tcp_proxy import TcpProxy

TENANTS = 10
MODES = ("open", "refusing", "open", "silent", "open", "slow", "refusing", "open")
MODE_S = 3.0
# Two seconds to read the clock, twice two for the registration, then time for a busy machine.
LONGEST_S = 15.0


class RegisteringTenant(threading.Thread):
    """Registers one job after another until `end` is set.

    accepted: ids of registrations. unclear: error answers without hint or Retry-After.
    """

    def __init__(self, number: int, key: str, url: str, end: threading.Event) -> None:
        super().__init__(daemon=True)
        self.number, self.key, self.url, self.end = number, key, url, end
        self.accepted: list[str] = []
        self.answers: Counter[int] = Counter()
        self.longest = 0.0
        self.unclear: list[str] = []

    def run(self) -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {self.key}"
            while not self.end.is_set():
                began = time.monotonic()
                self._register(session)
                self.longest = max(self.longest, time.monotonic() - began)

    def _register(self, session: requests.Session) -> None:
        body = {"job_id": f"job-{self.number}-{sum(self.answers.values())}", "callback_url": "http://127.0.0.1:9/"}
        answer = session.post(f"{self.url}/v1/registrations", json=body, timeout=LONGEST_S * 2)
        self.answers[answer.status_code] += 1
        if answer.status_code == 201:
            self.accepted.append(answer.json()["id"])
        elif answer.status_code != 503 or not answer.json()["hint"] or int(answer.headers["Retry-After"]) <= 0:
            self.unclear.append(answer.text)


@pytest.mark.slow
@pytest.mark.one_by_one
def test_every_201_is_there_afterwards_and_all_else_was_a_clear_error(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with RedisServer(tmp_path / "redis") as server, TcpProxy(server.socket) as proxy:
        runtime = Runtime(load(environment | {"BRIDGE_REDIS_URL": server.url}))
        proxied = {"BRIDGE_REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0", "BRIDGE_API_WORKERS": "2"}
        scopes = frozenset({Scope.REGISTRATIONS_READ, Scope.REGISTRATIONS_WRITE})
        keys = [
            runtime.stores.api_keys.create(f"tenant-{number}", scopes, runtime.stores.clock())
            for number in range(TENANTS)
        ]
        command = Path(sys.executable).with_name("cph-bridge")
        log = tmp_path / "api.log"
        with start([command, "api"], environment | proxied, log=log) as api:
            url = wait_until(lambda: log_line(log, "api.listening"), what="the API")["addresses"][0]
            end = threading.Event()
            tenants = [RegisteringTenant(number, key, url, end) for number, key in enumerate(keys)]
            for tenant in tenants:
                tenant.start()
            for mode in MODES:
                proxy.mode = mode
                assert not end.wait(MODE_S)
            end.set()
            for tenant in tenants:
                tenant.join(LONGEST_S * 2)
                assert not tenant.is_alive()
            assert api.exit_code is None
        answers = sum((tenant.answers for tenant in tenants), Counter())
        print(answers, f"the longest took {max(tenant.longest for tenant in tenants):.1f} s")
        assert answers.keys() == {201, 503}
        for tenant in tenants:
            assert tenant.unclear == []
            assert tenant.longest < LONGEST_S
            stored = {id for id in tenant.accepted if runtime.stores.registrations.get(f"tenant-{tenant.number}", id)}
            assert stored == set(tenant.accepted)
            assert tenant.accepted
        runtime.stores.redis.close()


def log_line(log: Path, event: str) -> Any:
    lines = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())
    return next((line for line in lines if line["event"] == event), None)
