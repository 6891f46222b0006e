"""A bridge of rendered pods on a simulated node, with the stand-in and a receiver."""

import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.devkit.client import BridgeClient
from app.devkit.processes import Process, start, wait_until
from app.devkit.redis_server import find_server
from app.domain.signature import new_secret
from tests.support.pods import Container, Image, Node
from tests.support.ports import free_port
from tests.support.receiver import Receiver
from tests.support.rendered_chart import ROLES, render


def trial_values(cph: Mapping[str, Any]) -> dict[str, Any]:
    """Values for a bundled Redis, one project at the stand-in, free ports and short intervals."""
    api, probes, redis = (free_port() for _ in range(3))
    return {
        "image": {"repository": "bridge"},
        "redis": {"bundled": {"enabled": True, "port": redis}},
        "projects": {
            "default": {
                "projectId": cph["project_id"],
                "endpoint": cph["url"],
                "iamEndpoint": cph["url"],
                "credentials": {
                    "user": cph["iam_user"],
                    "domain": cph["iam_domain"],
                    "passwordSecret": {"name": "cph", "key": "password"},
                },
            }
        },
        "settings": {
            "poll_min_s": 0.2,
            "poll_max_s": 0.5,
            "api_workers": 1,
            "worker_threads": 8,
            "cph_rate": 100,
            "lease_s": 20,
            "attempt_deadline_s": 8,
            "retry_schedule": [0.2, 0.5, 1, 1, 1],
            "allow_networks": ["127.0.0.1/32"],
        },
        "api": {"bindAddress": "127.0.0.1", "port": api, "probePort": probes, "preStopSeconds": 1},
        "metrics": {"enabled": False},
    }


@dataclass(slots=True)
class Running:
    node: Node
    redis: Process
    start_redis: Callable[[], Process]
    pods: dict[str, Container]
    standin: BridgeClient
    receiver: Receiver
    api_url: str
    secret: str

    def key(self) -> str:
        """Creates an API key, as the NOTES say."""
        done = self.pods["api"].run("cph-bridge", "keys", "create", "--tenant", "default")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def job(self, **script: Any) -> str:
        job_id: str = self.standin.call("POST", "/_standin/jobs", {"duration_s": 0} | script)["jobs"][0]["job_id"]
        return job_id

    def register(self, key: str, *job_ids: str) -> list[str]:
        bodies = ({"job_id": id, "callback_url": self.receiver.url, "secret": self.secret} for id in job_ids)
        return [BridgeClient(self.api_url, key).call("POST", "/v1/registrations", body)["id"] for body in bodies]

    def wait_until_delivered(self, key: str, *registrations: str) -> None:
        client = BridgeClient(self.api_url, key)
        for id in registrations:
            wait_until(
                lambda: client.call("GET", f"/v1/registrations/{id}")["deliveries"]["delivered"] == 1,  # noqa: B023
                timeout=60,
                what=f"{id} delivered",
            )
        assert all(callback.verified_by(self.secret) for callback in self.receiver.callbacks)

    def replace(self, role: str) -> None:
        self.pods[role] = self.node.start(role)
        self.pods[role].wait_until_started()


@contextmanager
def running(folder: Path, image: Image) -> Iterator[Running]:
    with ExitStack() as stack:
        standin = stack.enter_context(start([sys.executable, "-m", "app.devkit.standin"]))
        receiver = stack.enter_context(Receiver())
        about = standin.announcement()
        values = trial_values(about)
        rendered = render(values)
        node = Node(
            folder,
            rendered,
            {("cph", "password"): about["iam_password"]},
            image=image,
            hosts={"bridge-cph-webhook-bridge-redis.phones.svc.cluster.local": "127.0.0.1"},
        )
        command = redis_command(node, folder / "redis")

        def start_redis() -> Process:
            return stack.enter_context(start(command, log=folder / "redis.log"))

        redis = start_redis()
        stack.enter_context(node)  # ends before its Redis does
        pods = {role: node.start(role) for role in ROLES}
        for pod in pods.values():
            pod.wait_until_started()
        wait_until(lambda: pods["api"].healthy("readinessProbe"), what="the API is ready")
        url = f"http://127.0.0.1:{values['api']['port']}"
        yield Running(
            node,
            redis,
            start_redis,
            pods,
            BridgeClient(about["url"]),
            receiver,
            url,
            new_secret(secrets.token_bytes(32)),
        )


def redis_command(node: Node, folder: Path) -> list[str]:
    """The command of the chart's Redis, with a folder in place of its volumes."""
    folder.mkdir()
    (folder / "valkey.conf").write_text(node.secret("bridge-cph-webhook-bridge-made", "valkey.conf"), encoding="utf-8")
    (container,) = node.rendered.pod("redis")["spec"]["containers"]
    replacements = {
        "valkey-server": str(find_server().path),
        "/run/bridge/redis/valkey.conf": str(folder / "valkey.conf"),
        "/data": str(folder),
    }
    return [replacements.get(argument, argument) for argument in [*container["command"], *container["args"]]]
