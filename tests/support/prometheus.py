"""Debian's Prometheus, with our alerts: their waits are shortened, for tests have no five minutes."""

import json
import re
import shutil
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests
import yaml

from app.devkit.processes import Process, start, wait_until
from tests.support.paths import ROOT
from tests.support.tools import cannot

RULES = ROOT / "helm" / "files" / "alerts.yaml"
SHORTER = {
    r"for: \d+m": "for: 2s",
    r"\[5m\]": "[30s]",
    r"\[30m\]": "[5m]",
    r"late_seconds\) > 60": "late_seconds) > 3",
    r"> 50\b": "> 2",
}


class Prometheus:
    """Reads what it is aimed at every three seconds."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("prometheus")
        if binary is None:
            cannot("there is no prometheus (Debian: apt install prometheus)")
        self._targets = folder / "targets.json"
        rules = RULES.read_text(encoding="utf-8")
        for given, shorter in SHORTER.items():
            assert re.search(given, rules), f"{given} is in no rule: what is shortened here?"
            rules = re.sub(given, shorter, rules)
        (folder / "rules.yaml").write_text(rules, encoding="utf-8")
        self._choose([])
        discovery = {"files": [str(self._targets)], "refresh_interval": "1s"}
        config = {
            "global": {"scrape_interval": "3s", "scrape_timeout": "3s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "bridge", "file_sd_configs": [discovery]}],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self._url = f"http://{address}/api/v1"
        options = {"config.file": folder / "prometheus.yaml", "storage.tsdb.path": folder / "tsdb"}
        argv = [binary, f"--web.listen-address={address}", *(f"--{name}={value}" for name, value in options.items())]
        self.process: Process = start(argv, log=folder / "prometheus.log")

    def aim(self, addresses: Sequence[str]) -> None:
        """host:port of each process. Returns when all of them, and no others, have been read."""
        self._choose(addresses)
        query = {"query": "up{namespace='n'} == 1"}

        def read() -> bool:
            found = self._ask("query", query).get("result", [])
            return {sample["metric"]["instance"] for sample in found} == set(addresses)

        wait_until(read, what="Prometheus has read all")

    def firing(self) -> set[str]:
        alerts = self._ask("alerts", {}).get("alerts", [])
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def _choose(self, addresses: Sequence[str]) -> None:
        self._targets.write_text(
            json.dumps([{"targets": list(addresses), "labels": {"namespace": "n"}}]), encoding="utf-8"
        )

    def _ask(self, what: str, query: Mapping[str, str]) -> dict[str, Any]:
        with suppress(requests.ConnectionError, requests.JSONDecodeError):  # it is still starting
            data: dict[str, Any] = requests.get(f"{self._url}/{what}", query, timeout=10).json().get("data", {})
            return data
        return {}

    def fires(self, *names: str) -> None:
        wait_until(lambda: self.firing() >= set(names), timeout=90, what=f"{names} fire")

    def is_over(self, *names: str) -> None:
        wait_until(lambda: not self.firing() & set(names), timeout=90, what=f"{names} are over")
