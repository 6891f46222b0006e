"""API and workers of this or an older version, on the Redis of a bridge."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from app.devkit.bridge import Bridge
from app.devkit.client import BridgeClient
from app.devkit.processes import Process, start, wait_until
from tests.support.paths import ROOT
from tests.support.tools import cannot

TREE = ROOT
PACKAGE = "cph-webhook-bridge"
MODULES = {"deliver": ["workers", "deliver"], "poll": ["workers", "poll"], "api": ["app.api"]}
# The log event by which a process shows that it has done a piece of work.
WORK_EVENTS = {"api": "audit", "poll": "job.ended", "deliver": "delivery.attempted"}
ENOUGH = 5  # pieces of work
PATIENCE_S = 60.0
GRACE_S = 30.0  # docs/operations.md


def unpack(commit: str, folder: Path) -> Path:
    """Extracts the service's files at the commit into the folder, with package metadata of their own version."""
    command = ["git", "-C", str(TREE), "archive", "--format=tar", commit, "app", "workers"]
    try:
        packed = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except FileNotFoundError:
        cannot("git is missing: the older version is extracted from the history")
    if packed.returncode:
        cannot(f"no commit {commit} here, as in a shallow clone or a tarball: {packed.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
        files.extractall(folder, filter="data")
    # As if installed: otherwise it would read the version of this tree.
    metadata = folder / f"{PACKAGE.replace('-', '_')}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(
        f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {version_number(commit)}\n", encoding="utf-8"
    )
    return folder


def version_number(commit: str) -> str:
    return f"0+{commit[:7]}"


class Version:
    """Three processes of a version, each with its own log. On exit, those that still run are killed."""

    def __init__(self, name: str, bridge: Bridge, code: Path = TREE) -> None:
        self.name = name
        self._bridge = bridge
        # PYTHONPATH comes before installed packages. PYTHONSAFEPATH ignores the working directory.
        self._environment = bridge.environment | {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"}
        self._processes: dict[str, Process] = {}
        self._stack = ExitStack()
        self.url = self.number = ""
        self.ended_in: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Starts the three processes. Returns when the API listens at `url`; `number` is the version it reports."""
        for role, module in MODULES.items():
            argv = [sys.executable, "-m", *module]
            self._processes[role] = start(argv, self._environment, log=self._log(role))
            self._stack.callback(self._processes[role].kill)
        self.url = wait_until(self._address, timeout=GRACE_S, what=f"the API of {self.name}")
        self.number = BridgeClient(self.url).call("GET", "/openapi.json")["info"]["version"]

    def work_count(self, role: str) -> int:
        """Pieces of work so far, counted in the log."""
        return self._log(role).read_text(encoding="utf-8").count(f'"event": "{WORK_EVENTS[role]}"')

    def terminate(self, role: str) -> None:
        """Sends SIGTERM to the process alone, as the kubelet does."""
        assert self._processes[role].exit_code is None, f"{role} of {self.name} has ended before"
        os.kill(self._processes[role].pid, signal.SIGTERM)

    def wait_until_ended(self, role: str) -> None:
        """Waits for the end within the grace period and with exit code 0."""
        process, started_waiting = self._processes[role], time.monotonic()
        wait_until(lambda: process.exit_code is not None, timeout=GRACE_S, what=f"{role} of {self.name} has ended")
        self.ended_in[role] = round(time.monotonic() - started_waiting, 1)
        assert process.exit_code == 0

    def lines(self, role: str) -> list[dict[str, Any]]:
        """The complete lines of the log. A line that is no JSON counts as an error."""
        complete, _, _ = self._log(role).read_text(encoding="utf-8").rpartition("\n")
        return [_parsed(line) for line in complete.splitlines()]

    def complaints(self) -> list[dict[str, Any]]:
        return [line for role in MODULES for line in self.lines(role) if line["level"] not in {"info", "warning"}]

    def _address(self) -> str:
        return next((line["addresses"][0] for line in self.lines("api") if line["event"] == "api.listening"), "")

    def _log(self, role: str) -> Path:
        return self._bridge.logs / f"{self.name}-{role}.log"


def wait_until_at_work(*versions: Version, roles: Iterable[str] = MODULES) -> None:
    """Waits until each of these processes has done ENOUGH pieces of work from now on."""
    processes = [(version, role, version.work_count(role)) for version in versions for role in roles]
    for version, role, before in processes:
        wait_until(
            lambda: version.work_count(role) >= before + ENOUGH,  # noqa: B023 - called at once
            timeout=PATIENCE_S,
            what=f"{role} of {version.name} at work",
        )


def _parsed(line: str) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"level": "error", "event": "", "line": line}
    return parsed
