"""API and workers of a version, its own or an older one's, on the Redis of a bridge."""

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
# What shows in its log that a process has done some of its work.
WORK = {"api": "audit", "poll": "job.ended", "deliver": "delivery.attempted"}
ENOUGH = 5  # pieces of it
PATIENCE_S = 60.0
GRACE_S = 30.0  # docs/operations.md


def unpack(commit: str, folder: Path) -> Path:
    """The service's files as they were at the commit, put into the folder, with the name of a version of their own."""
    command = ["git", "-C", str(TREE), "archive", "--format=tar", commit, "app", "workers"]
    try:
        packed = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except FileNotFoundError:
        cannot("git is missing: the older version comes out of its history")
    if packed.returncode:
        cannot(f"no commit {commit} here, as in a shallow clone or a tarball: {packed.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
        files.extractall(folder, filter="data")
    # As if it were installed: else it would take what is told of this tree for its own.
    metadata = folder / f"{PACKAGE.replace('-', '_')}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {number_of(commit)}\n", encoding="utf-8")
    return folder


def number_of(commit: str) -> str:
    return f"0+{commit[:7]}"


class Version:
    """Its three processes, each with a log of its own; those that still run when this is left are killed."""

    def __init__(self, name: str, bridge: Bridge, code: Path = TREE) -> None:
        self.name = name
        self._bridge = bridge
        # It comes before what is installed; where the tests were started from does not count.
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
        """All three of them; returns when the API listens, at `url`, and says what `number` it is of."""
        for role, module in MODULES.items():
            argv = [sys.executable, "-m", *module]
            self._processes[role] = start(argv, self._environment, log=self._log(role))
            self._stack.callback(self._processes[role].kill)
        self.url = wait_until(self._address, timeout=GRACE_S, what=f"the API of {self.name}")
        self.number = BridgeClient(self.url).call("GET", "/openapi.json")["info"]["version"]

    def has_done(self, role: str) -> int:
        return self._log(role).read_text(encoding="utf-8").count(f'"event": "{WORK[role]}"')

    def ask_to_end(self, role: str) -> None:
        """SIGTERM, to the process alone, as the kubelet does it."""
        assert self._processes[role].exit_code is None, f"{role} of {self.name} has ended before"
        os.kill(self._processes[role].pid, signal.SIGTERM)

    def wait_until_ended(self, role: str) -> None:
        """Within its grace, and content."""
        process, asked = self._processes[role], time.monotonic()
        wait_until(lambda: process.exit_code is not None, timeout=GRACE_S, what=f"{role} of {self.name} has ended")
        self.ended_in[role] = round(time.monotonic() - asked, 1)
        assert process.exit_code == 0

    def lines(self, role: str) -> list[dict[str, Any]]:
        """What it has logged, as far as it is whole; a line that is no JSON counts as an error."""
        whole, _, _ = self._log(role).read_text(encoding="utf-8").rpartition("\n")
        return [_parsed(line) for line in whole.splitlines()]

    def complaints(self) -> list[dict[str, Any]]:
        return [line for role in MODULES for line in self.lines(role) if line["level"] not in {"info", "warning"}]

    def _address(self) -> str:
        return next((line["addresses"][0] for line in self.lines("api") if line["event"] == "api.listening"), "")

    def _log(self, role: str) -> Path:
        return self._bridge.logs / f"{self.name}-{role}.log"


def wait_until_at_work(*versions: Version, roles: Iterable[str] = MODULES) -> None:
    """Each of these processes does something from now on."""
    processes = [(version, role, version.has_done(role)) for version in versions for role in roles]
    for version, role, before in processes:
        wait_until(
            lambda: version.has_done(role) >= before + ENOUGH,  # noqa: B023 - called at once
            timeout=PATIENCE_S,
            what=f"{role} of {version.name} at work",
        )


def _parsed(line: str) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"level": "error", "event": "", "line": line}
    return parsed
