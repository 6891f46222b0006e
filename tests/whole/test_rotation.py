"""The password of Redis is rotated under load, by the steps in docs/operations.md."""

import json
from pathlib import Path

import pytest
import requests
from redis import Redis

from app.devkit.bridge import Bridge
from app.devkit.processes import wait_until
from tests.support.receiver import Receiver
from tests.support.redis_group import CLIENTS, PASSWORD, USER, RedisGroup
from tests.whole.conftest import QUICK
from tests.whole.test_failover import PATIENCE_S, RegistrationLoad, ReplicatedDeployment

NEW = "new-pw-of-redis"
SETTING = "BRIDGE_REDIS_URL"
REFUSED = "invalid username-password pair"
ROLES = ("api", "worker-poll", "worker-deliver")
STARTED = ("api.listening", "worker.started")


class PasswordRotation:
    """A bridge whose processes read the URL of Redis from a file when they start, as in Kubernetes."""

    def __init__(self, bridge: Bridge, group: RedisGroup, file: Path) -> None:
        self._bridge, self._group, self._file = bridge, group, file
        self._process_count = 0

    def start_processes(self, password: str) -> None:
        """Writes the file and starts another process of each role."""
        self._file.write_text(f"redis://{USER}:{password}@{CLIENTS}:{self._group.first}/0", encoding="utf-8")
        self._bridge.start_api()
        for kind in ("poll", "deliver"):
            self._bridge.start_worker(kind)
        self._process_count += 1
        wait_until(self._started, timeout=PATIENCE_S, what="processes with that password")

    def execute_in_redis(self, *command: str) -> None:
        with Redis.from_url(self._group.url(self._group.first)) as client:
            client.execute_command(*command)

    def log_of(self, role: str) -> str:
        return (self._bridge.logs / f"{role}.log").read_text(encoding="utf-8")

    def reasons(self, role: str, event: str) -> list[str]:
        lines = [json.loads(line) for line in self.log_of(role).splitlines() if f'"{event}"' in line]
        return [line["reason"] for line in lines]

    def wait_until_reported(self, role: str, event: str) -> None:
        wait_until(
            lambda: any(SETTING in reason for reason in self.reasons(role, event)),
            timeout=PATIENCE_S,
            what=f"{event} of {role} names the setting",
        )

    def _started(self) -> bool:
        return all(
            sum(self.log_of(role).count(f'"{event}"') for event in STARTED) == self._process_count for role in ROLES
        )


@pytest.mark.slow
def test_the_password_of_redis_is_rotated_under_load_and_processes_with_the_old_one_report_it(
    tmp_path: Path, receiver: Receiver
) -> None:
    file = tmp_path / "redis-url"
    settings = {**QUICK, SETTING: "", f"{SETTING}_FILE": str(file)}
    with RedisGroup(tmp_path / "group", replicas=0) as group, Bridge(tmp_path / "bridge", settings) as bridge:
        deployment = ReplicatedDeployment(
            bridge, group, receiver, RegistrationLoad(bridge, bridge.start_standin().client, receiver)
        )
        rotation = PasswordRotation(bridge, group, file)
        rotation.start_processes(PASSWORD)
        old_api_url = bridge.url
        with deployment.load as load:
            load.wait_for_more()
            rotation.execute_in_redis("ACL", "SETUSER", USER, f">{NEW}")
            rotation.start_processes(NEW)
            load.wait_for_more()
            rotation.execute_in_redis("ACL", "SETUSER", USER, f"<{PASSWORD}")
            rotation.execute_in_redis("CLIENT", "KILL", "USER", USER)
            load.wait_for_more()
        deployment.wait_until_notified(load.acknowledged())
        assert {answer.status for answer in load.answers} == {201}
        assert receiver.one_event_each()

        answer = requests.get(
            f"{old_api_url}/v1/registrations", headers={"Authorization": f"Bearer {bridge.key}"}, timeout=60
        )
        assert answer.status_code == 503
        rotation.wait_until_reported("api", "api.unavailable")
        # While a worker waits for work, RQ itself retries and logs the error. Otherwise the worker logs worker.waits.
        for worker in ("worker-poll", "worker-deliver"):
            wait_until(
                lambda log=worker: REFUSED in rotation.log_of(log),
                timeout=PATIENCE_S,
                what=f"the error in the log of {worker}",
            )
        bridge.check()
        logs = {path.name: path.read_text(encoding="utf-8") for path in bridge.logs.iterdir()}
        assert [name for name, text in logs.items() if PASSWORD in text] == []  # NEW ends with PASSWORD
