"""Debian's Prometheus with the chart's alerts, whose waits are shortened for tests."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests
import yaml

from app.devkit.processes import Process, start, wait_until
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.tools import cannot

RULES = ROOT / "helm" / "files" / "alerts.yaml"
SHORTENED = {
    r"for: \d+m": "for: 2s",
    r"\[5m\]": "[30s]",
    r"\[30m\]": "[5m]",
    r"late_seconds\) > 60": "late_seconds) > 3",
    r"> 50\b": "> 2",
}


class Prometheus:
    """Scrapes its targets every three seconds."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("prometheus")
        if binary is None:
            cannot("there is no prometheus (Debian: apt install prometheus)")
        self._targets = folder / "targets.json"
        rules = RULES.read_text(encoding="utf-8")
        for pattern, replacement in SHORTENED.items():
            assert re.search(pattern, rules), f"{pattern} is in no rule: nothing to shorten"
            rules = re.sub(pattern, replacement, rules)
        (folder / "rules.yaml").write_text(rules, encoding="utf-8")
        self._set_targets([])
        discovery = {"files": [str(self._targets)], "refresh_interval": "1s"}
        config = {
            "global": {"scrape_interval": "3s", "scrape_timeout": "3s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "bridge", "file_sd_configs": [discovery]}],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        address = f"127.0.0.1:{free_port()}"
        self._url = f"http://{address}/api/v1"
        options = {"config.file": folder / "prometheus.yaml", "storage.tsdb.path": folder / "tsdb"}
        argv = [binary, f"--web.listen-address={address}", *(f"--{name}={value}" for name, value in options.items())]
        self.process: Process = start(argv, log=folder / "prometheus.log")

    def scrape(self, addresses: Sequence[str]) -> None:
        """Sets the targets, as host:port. Returns when all of them, and no others, have been scraped."""
        self._set_targets(addresses)
        query = {"query": "up{namespace='n'} == 1"}

        def scraped() -> bool:
            found = self._get("query", query).get("result", [])
            return {sample["metric"]["instance"] for sample in found} == set(addresses)

        wait_until(scraped, what="Prometheus has scraped all targets")

    def firing(self) -> set[str]:
        alerts = self._get("alerts", {}).get("alerts", [])
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def _set_targets(self, addresses: Sequence[str]) -> None:
        self._targets.write_text(
            json.dumps([{"targets": list(addresses), "labels": {"namespace": "n"}}]), encoding="utf-8"
        )

    def _get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        with suppress(requests.ConnectionError, requests.JSONDecodeError):  # Prometheus is still starting
            data: dict[str, Any] = requests.get(f"{self._url}/{path}", query, timeout=10).json().get("data", {})
            return data
        return {}

    def fires(self, *names: str) -> None:
        wait_until(lambda: self.firing() >= set(names), timeout=90, what=f"{names} fire")

    def is_over(self, *names: str) -> None:
        wait_until(lambda: not self.firing() & set(names), timeout=90, what=f"{names} are over")
