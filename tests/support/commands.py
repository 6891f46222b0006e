"""The command line on a running bridge, as a person or a script uses it."""

import os
import subprocess
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from click.testing import CliRunner, Result

from app.cli.main import main
from app.devkit.processes import wait_until
from app.domain.job import Job, JobState
from app.store.agenda import Claimed
from tests.support.claims import claim_due
from tests.support.tcp_proxy import TcpProxy
from tests.support.terminal import CPH_BRIDGE, Terminal, terminal

if TYPE_CHECKING:
    from tests.whole.conftest import Deployment

# Passed on so that coverage is measured in child processes, too.
COVERAGE_ENVIRONMENT = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}  # noqa: TID251


class CommandRunner:
    """Runs commands with URL and key of the bridge. env: further variables, which may replace these."""

    def __init__(self, deployment: "Deployment") -> None:
        self.deployment = deployment
        self._env = {"BRIDGE_URL": deployment.bridge.url, "BRIDGE_KEY": deployment.bridge.key} | COVERAGE_ENVIRONMENT
        self._claimed: dict[str, Claimed] = {}

    def run(self, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """Runs a command as a script does: its output goes into pipes."""
        return subprocess.run(
            [CPH_BRIDGE, *arguments],
            env=self._env | env,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    def here(self, *arguments: str, **env: str) -> Result:
        """Runs a command in this process, which is faster than `run`."""
        return CliRunner().invoke(main, arguments, env=self._env | env)

    def shell(self, line: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """Runs a line of bash in which `cph-bridge` is defined."""
        script = f'cph-bridge() {{ "{CPH_BRIDGE}" "$@"; }}; {line}'
        return subprocess.run(
            ["/bin/bash", "-c", script],
            env={"PATH": "/usr/bin:/bin"} | self._env | env,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    def start(self, *arguments: str, **env: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [CPH_BRIDGE, *arguments],
            env=self._env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def terminal(self, *arguments: str, **env: str) -> AbstractContextManager[Terminal]:
        return terminal(*arguments, env=self._env | env)

    def proxy(self, url: str | None = None) -> TcpProxy:
        """A proxy in front of the API, or of `url`."""
        parts = urlsplit(url or self.deployment.bridge.url)
        assert parts.hostname
        assert parts.port
        return TcpProxy((parts.hostname, parts.port))

    def end_jobs(self, *job_ids: str, state: JobState = JobState.SUCCEEDED, **about: Any) -> None:
        """Ends jobs as a poll worker would, without starting one."""
        runtime = self.deployment.runtime

        def all_claimed() -> bool:
            batch = claim_due(runtime.stores.polls_due, runtime.stores.clock(), 100)
            self._claimed |= {item.id: item for item in batch}
            return self._claimed.keys() >= set(job_ids)

        wait_until(all_claimed, what=f"{job_ids} on the agenda")
        runtime.stores.scripts.run_all(
            runtime.stores.watches.complete(self._claimed[id], Job(id, state, **about), runtime.stores.clock())
            for id in job_ids
        )

    def registered(self, count: int = 1) -> list[dict[str, Any]]:
        """Waits until there are `count` registrations. Returns them, newest first."""

        def found() -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = self.deployment.bridge.call("GET", "/v1/registrations")["items"]
            return items if len(items) >= count else []

        return wait_until(found, what=f"{count} registrations")

    def events(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.deployment.bridge.call("GET", "/v1/events?limit=200")["items"]
        return items


def job_ids(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["job"]["job_id"] for event in events]
