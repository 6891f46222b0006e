"""A bridge for trials and tests: Redis, the stand-in, the inbox, and the processes that an operator starts."""

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
from app.devkit.log_tail import LogTail, last_lines
from app.devkit.processes import Process, start, wait_until
from app.devkit.redis_server import RedisServer
from app.domain.signature import new_secret

COMMAND = Path(sys.executable).with_name("cph-bridge")
# Prefixes of the settings that Bridge sets itself: its Redis is embedded, and the timeline is read from the logs.
MANAGED_SETTINGS = (
    *("BRIDGE_REDIS_", "BRIDGE_WAIT_REPLICAS", "BRIDGE_API_BIND", "BRIDGE_PROBE_BIND", "BRIDGE_METRICS_BIND"),
    *("BRIDGE_BOOTSTRAP_KEY", "BRIDGE_SECRET_KEYS", "BRIDGE_ALLOW_NETWORKS", "BRIDGE_LOG_LEVEL"),
)
LAST_LINES = 8

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StubProcess:
    """The stand-in or the inbox. about: the JSON line that it printed when it was ready."""

    process: Process
    about: dict[str, Any]

    @property
    def client(self) -> BridgeClient:
        return BridgeClient(self.about["url"])

    def lines(self) -> list[dict[str, Any]]:
        """Returns the lines printed after `about`; those of the inbox are callbacks."""
        return [json.loads(line) for line in self.process.lines[1:]]


class Bridge:
    """A context manager: entering starts Redis; leaving stops Redis and every process started since.

    settings: environment variables that override those set here. BRIDGE_… variables of this process are not inherited.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.logs = folder / "logs"
        self.redis = RedisServer(folder / "redis")
        self.key = secrets.token_urlsafe(32)
        self.secret = new_secret(secrets.token_bytes(32))
        self.url = self.metrics_url = ""
        self._defaults = {
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
        """The settings of processes that are started from now on."""
        return {**self._defaults, **self._cph, **self._settings}

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True)
        self._stack.enter_context(self.redis)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_standin(self) -> StubProcess:
        """Starts the CPH stand-in. Processes started afterwards use it."""
        standin = self._start_stub("standin")
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
        """Starts the inbox, which verifies with `secret` only."""
        return self._start_stub("inbox", "--secret", self.secret)

    def start_api(self, listener: socket | None = None) -> Process:
        """Starts the API and waits until it listens. Sets `url` and `metrics_url` (for Prometheus).

        listener: a listening socket for the API to use; default: a free port.
        """
        tail = LogTail(self._log("api"))
        settings = {"BRIDGE_API_BIND": f"fd://{listener.fileno()}"} if listener else {}
        process = self._start("api", [COMMAND, "api"], settings, [listener] if listener else [])

        def listening() -> Mapping[str, Any]:
            return next((line for line in tail.new() if line["event"] == "api.listening"), {})

        line = self._wait_for("api", process, listening)
        self.url, self.metrics_url = line["addresses"][0], line["metrics"]
        return process

    def start_worker(self, kind: str, settings: Mapping[str, str] | None = None) -> Process:
        """Starts a worker. settings: override those of the bridge."""
        return self._start(f"worker-{kind}", [COMMAND, "worker", kind], settings)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Calls the API with `key`."""
        return BridgeClient(self.url, self.key).call(method, path, body)

    def check(self) -> None:
        """Raises ChildProcessError with the last log lines of a process that has ended."""
        for name, process in self._running:
            self._check(name, process)

    def _check(self, name: str, process: Process) -> None:
        if process.exit_code is not None:
            logged = last_lines(self._log(name), LAST_LINES)
            raise ChildProcessError(f"{name} ended with {process.exit_code}. Its last log lines:\n{logged}")

    def _wait_for(self, name: str, process: Process, condition: Callable[[], T]) -> T:
        def checked() -> T:
            self._check(name, process)
            return condition()

        return wait_until(checked, what=f"{name} is ready")

    def _start_stub(self, name: str, *options: str) -> StubProcess:
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
