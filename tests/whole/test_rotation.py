"""The password of Redis is rotated under load, as docs/operations.md says it."""

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
from tests.whole.test_failover import PATIENCE_S, Replicated, Stream

NEW = "new-pw-of-redis"
SETTING = "BRIDGE_REDIS_URL"
REFUSED = "invalid username-password pair"
ROLES = ("api", "worker-poll", "worker-deliver")
STARTED = ("api.listening", "worker.started")


class Rotating:
    """A bridge that reads the URL of Redis from a file, as in Kubernetes: each process when it starts."""

    def __init__(self, bridge: Bridge, group: RedisGroup, file: Path) -> None:
        self._bridge, self._group, self._file = bridge, group, file
        self._running = 0

    def give(self, password: str) -> None:
        """To processes that are started beside those that run."""
        self._file.write_text(f"redis://{USER}:{password}@{CLIENTS}:{self._group.first}/0", encoding="utf-8")
        self._bridge.start_api()
        for kind in ("poll", "deliver"):
            self._bridge.start_worker(kind)
        self._running += 1
        wait_until(self._started, timeout=PATIENCE_S, what="processes with that password")

    def tell_redis(self, *command: str) -> None:
        with Redis.from_url(self._group.url(self._group.first)) as client:
            client.execute_command(*command)

    def log_of(self, role: str) -> str:
        return (self._bridge.logs / f"{role}.log").read_text(encoding="utf-8")

    def reasons(self, role: str, event: str) -> list[str]:
        lines = [json.loads(line) for line in self.log_of(role).splitlines() if f'"{event}"' in line]
        return [line["reason"] for line in lines]

    def wait_until_told(self, role: str, event: str) -> None:
        wait_until(
            lambda: any(SETTING in reason for reason in self.reasons(role, event)),
            timeout=PATIENCE_S,
            what=f"{event} of {role} names the setting",
        )

    def _started(self) -> bool:
        return all(sum(self.log_of(role).count(f'"{event}"') for event in STARTED) == self._running for role in ROLES)


@pytest.mark.slow
def test_the_password_of_redis_is_rotated_under_load_and_who_kept_the_old_one_is_told(
    tmp_path: Path, receiver: Receiver
) -> None:
    file = tmp_path / "redis-url"
    settings = {**QUICK, SETTING: "", f"{SETTING}_FILE": str(file)}
    with RedisGroup(tmp_path / "group", replicas=0) as group, Bridge(tmp_path / "bridge", settings) as bridge:
        whole = Replicated(bridge, group, receiver, Stream(bridge, bridge.start_standin().client, receiver))
        rotating = Rotating(bridge, group, file)
        rotating.give(PASSWORD)
        forgotten = bridge.url
        with whole.stream as stream:
            stream.wait_for_more()
            rotating.tell_redis("ACL", "SETUSER", USER, f">{NEW}")
            rotating.give(NEW)
            stream.wait_for_more()
            rotating.tell_redis("ACL", "SETUSER", USER, f"<{PASSWORD}")
            rotating.tell_redis("CLIENT", "KILL", "USER", USER)
            stream.wait_for_more()
        whole.wait_until_told(stream.acknowledged())
        assert {answer.status for answer in stream.answers} == {201}
        assert len(receiver.ids()) == len(whole.told_of()) == len(stream.answers)

        answer = requests.get(
            f"{forgotten}/v1/registrations", headers={"Authorization": f"Bearer {bridge.key}"}, timeout=60
        )
        assert answer.status_code == 503
        rotating.wait_until_told("api", "api.unavailable")
        # RQ itself, which goes on trying while a worker waits for work; worker.waits comes if it was at something else.
        for worker in ("worker-poll", "worker-deliver"):
            wait_until(lambda log=worker: REFUSED in rotating.log_of(log), timeout=PATIENCE_S, what=f"{worker} says so")
        bridge.check()
        said = {path.name: path.read_text(encoding="utf-8") for path in bridge.logs.iterdir()}
        assert [name for name, text in said.items() if PASSWORD in text] == []  # NEW ends with it
