"""A bridge for trials and tests: Redis, the stand-in, the inbox, and its own processes as an operator starts them."""

import base64
import json
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any, Self, TypeVar

from app.config.settings import KEY_BYTES
from app.devkit.client import BridgeClient
from app.devkit.log_tail import LogTail, last_words
from app.devkit.processes import Process, start, wait_until
from app.devkit.redis_server import RedisServer
from app.domain.signature import new_secret

COMMAND = Path(sys.executable).with_name("cph-bridge")
# How settings begin that are chosen here: its Redis is what it is, and what is shown is read from the logs.
CHOSEN = (
    *("BRIDGE_REDIS_", "BRIDGE_WAIT_REPLICAS", "BRIDGE_API_BIND", "BRIDGE_PROBE_BIND", "BRIDGE_METRICS_BIND"),
    *("BRIDGE_BOOTSTRAP_KEY", "BRIDGE_SECRET_KEYS", "BRIDGE_ALLOW_NETWORKS", "BRIDGE_LOG_LEVEL"),
)
LAST_LINES = 8

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StubProcess:
    """The stand-in or the inbox. about: the line with which it said that it is ready."""

    process: Process
    about: dict[str, Any]

    @property
    def client(self) -> BridgeClient:
        return BridgeClient(self.about["url"])

    def said(self) -> list[dict[str, Any]]:
        """The lines since then; of the inbox: the callbacks."""
        return [json.loads(line) for line in self.process.lines[1:]]


class Bridge:
    """Redis runs while this is entered; all else from its start. What is left then is stopped.

    settings: environment variables, over those that are chosen here. No BRIDGE_… of ours is handed on.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.logs = folder / "logs"
        self.redis = RedisServer(folder / "redis")
        self.key = secrets.token_urlsafe(32)
        self.secret = new_secret(secrets.token_bytes(32))
        self.url = self.metrics_url = ""
        self._own = {
            "BRIDGE_REDIS_URL": self.redis.url,
            "BRIDGE_API_BIND": "127.0.0.1:0",
            "BRIDGE_PROBE_BIND": "127.0.0.1:0",
            "BRIDGE_METRICS_BIND": "127.0.0.1:0",
            "BRIDGE_BOOTSTRAP_KEY": self.key,
            "BRIDGE_SECRET_KEYS": "trial:" + base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode(),
            "BRIDGE_ALLOW_NETWORKS": "127.0.0.0/8",
            "BRIDGE_LOG_LEVEL": "INFO",
        }
        self._cph: dict[str, str] = {}
        self._settings = settings or {}
        self._running: list[tuple[str, Process]] = []
        self._stack = ExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """With which processes start from now on."""
        return {**self._own, **self._cph, **self._settings}

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True)
        self._stack.enter_context(self.redis)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_standin(self) -> StubProcess:
        """From now on it is the CPH of what is started."""
        standin = self._start_neighbour("standin")
        url, about = standin.about["url"], standin.about
        self._cph = {
            "BRIDGE_CPH_PROJECT_ID": about["project_id"],
            "BRIDGE_CPH_ENDPOINT": url,
            "BRIDGE_IAM_ENDPOINT": url,
            "BRIDGE_IAM_USER": about["iam_user"],
            "BRIDGE_IAM_PASSWORD": about["iam_password"],
            "BRIDGE_IAM_DOMAIN": about["iam_domain"],
        }
        return standin

    def start_inbox(self) -> StubProcess:
        """It knows `secret`, and no other."""
        return self._start_neighbour("inbox", "--secret", self.secret)

    def start_api(self, listener: socket | None = None) -> Process:
        """Returns when it listens: at `url`, and for Prometheus at `metrics_url`.

        listener: a socket that listens already, for the API to take over; else the API takes a free port.
        """
        tail = LogTail(self._log("api"))
        settings = {"BRIDGE_API_BIND": f"fd://{listener.fileno()}"} if listener else {}
        process = self._start("api", [COMMAND, "api"], settings, [listener] if listener else [])

        def listening() -> Mapping[str, Any]:
            return next((line for line in tail.new() if line["event"] == "api.listening"), {})

        said = self._wait_for("api", process, listening)
        self.url, self.metrics_url = said["addresses"][0], said["metrics"]
        return process

    def start_worker(self, kind: str, settings: Mapping[str, str] | None = None) -> Process:
        """settings: over those of the whole bridge."""
        return self._start(f"worker-{kind}", [COMMAND, "worker", kind], settings)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """To the API, with `key`."""
        return BridgeClient(self.url, self.key).call(method, path, body)

    def check(self) -> None:
        """ChildProcessError with the last words of what has ended."""
        for name, process in self._running:
            self._check(name, process)

    def _check(self, name: str, process: Process) -> None:
        if process.exit_code is not None:
            said = last_words(self._log(name), LAST_LINES)
            raise ChildProcessError(f"{name} ended with {process.exit_code}. Its last words:\n{said}")

    def _wait_for(self, name: str, process: Process, condition: Callable[[], T]) -> T:
        def checked() -> T:
            self._check(name, process)
            return condition()

        return wait_until(checked, what=f"{name} is ready")

    def _start_neighbour(self, name: str, *options: str) -> StubProcess:
        process = self._start(name, [sys.executable, "-m", f"app.devkit.{name}", *options])
        self._wait_for(name, process, lambda: process.lines)
        return StubProcess(process, process.announcement())

    def _start(
        self,
        name: str,
        argv: Sequence[str | Path],
        settings: Mapping[str, str] | None = None,
        inherited: Sequence[socket] = (),
    ) -> Process:
        fds = tuple(listener.fileno() for listener in inherited)
        process = start(argv, {**self.environment, **(settings or {})}, log=self._log(name), pass_fds=fds)
        self._running.append((name, self._stack.enter_context(process)))
        return process

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"
