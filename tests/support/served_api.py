"""The API as a process of its own, and its log."""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from app.devkit.processes import Process, wait_until
from tests.support.api_client import KEY

CPH_BRIDGE = Path(sys.executable).with_name("cph-bridge")


class ServedApi:
    """A process of `cph-bridge api` that listens. listening: the fields of its log line `api.listening`."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self._log = log
        self.listening = wait_until(lambda: self.event("api.listening"), what="the API")
        self.address: str = self.listening["addresses"][0]

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]

    def event(self, name: str) -> dict[str, Any] | None:
        return next((line for line in self.log if line["event"] == name), None)

    def call(self, method: str, path: str, **details: Any) -> requests.Response:
        return requests.request(
            method, self.address + path, headers={"Authorization": f"Bearer {KEY}"}, timeout=10, **details
        )

    def probe(self, path: str) -> int:
        return requests.get(self.listening["probes"] + path, timeout=10).status_code


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port
