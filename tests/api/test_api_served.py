"""The API as it runs: gunicorn, started by the command."""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from app.devkit.processes import PATIENCE_S, Process, start, wait_until
from tests.support.api_client import KEY, SMALLEST

CPH_BRIDGE = Path(sys.executable).with_name("cph-bridge")


class ServedApi:
    """`cph-bridge api`, and what it logged."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self._log = log
        self.said = wait_until(lambda: self.event("api.listening"), what="the API")
        self.address: str = self.said["addresses"][0]

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
        return requests.get(self.said["probes"] + path, timeout=10).status_code


Serve = Callable[..., ServedApi]


@pytest.fixture
def serve(environment: dict[str, str], tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:

        def serve_one(**more: str) -> ServedApi:
            log = tmp_path / "stderr"
            process = start([CPH_BRIDGE, "api"], {**environment, "BRIDGE_API_WORKERS": "1", **more}, log=log)
            return ServedApi(stack.enter_context(process), log)

        yield serve_one


def test_the_command_serves_the_api_and_ends_cleanly(serve: Serve) -> None:
    api = serve(BRIDGE_API_WORKERS="2")
    taken = api.call("POST", "/v1/registrations", json=SMALLEST)
    assert taken.status_code == 201
    shown = api.call("GET", taken.headers["Location"])
    assert shown.json()["id"] == taken.json()["id"]
    assert api.process.stop(PATIENCE_S) == 0
    assert {line["event"] for line in api.log} == {"api.listening", "api.request", "audit"}


def test_probes_are_answered_while_slow_clients_hold_every_thread(serve: Serve) -> None:
    api = serve(BRIDGE_API_THREADS="1")
    with ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(socket.create_connection(address_of(api.address)))
            head = f"POST /v1/registrations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
            client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n".encode())
        assert [api.probe(path) for path in ("/healthz", "/readyz", "/nothing")] == [200, 200, 404]


def test_a_request_in_hand_is_answered_before_the_end(serve: Serve) -> None:
    api = serve()
    body = json.dumps(SMALLEST).encode()
    head = f"POST /v1/registrations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n"
    with socket.create_connection(address_of(api.address), timeout=10) as client:
        client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        client.sendall(body[:-1])
        # Connections are accepted in order: once this one is answered, the worker has ours in hand.
        assert api.call("GET", "/healthz").status_code == 200
        os.kill(api.process.pid, signal.SIGTERM)
        client.sendall(body[-1:])
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 201 ")
    assert api.process.stop(PATIENCE_S) == 0


@pytest.mark.slow
def test_streams_end_with_the_process_and_hold_it_up_no_longer_than_a_moment(serve: Serve) -> None:
    api = serve()
    with requests.get(
        f"{api.address}/v1/events/stream", headers={"Authorization": f"Bearer {KEY}"}, stream=True, timeout=20
    ) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith(b"retry: ")
        began = time.monotonic()
        os.kill(api.process.pid, signal.SIGTERM)
        assert [line for line in lines if line] == []
    assert api.process.stop(PATIENCE_S) == 0
    assert time.monotonic() - began < 8


def test_a_stream_goes_on_while_others_ask_and_sees_what_they_do(serve: Serve) -> None:
    api = serve(BRIDGE_API_THREADS="1", BRIDGE_API_STREAMS="1")
    refused = {"request_id": "r", "jobs": [{"phone_id": "p", "error_code": "CPS.0004"}]}
    with requests.get(
        f"{api.address}/v1/events/stream", headers={"Authorization": f"Bearer {KEY}"}, stream=True, timeout=20
    ) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith(b"retry: ")
        body = {"submission": refused, "callback_url": SMALLEST["callback_url"]}
        assert api.call("POST", "/v1/registrations", json=body).status_code == 201
        assert b"event: job.failed" in (next(lines) for _ in range(20))
        assert api.call("GET", "/v1/events/stream").status_code == 503


def test_a_wrong_file_of_tenants_is_told_at_the_start(environment: dict[str, str], tmp_path: Path) -> None:
    file, log = tmp_path / "tenants.yaml", tmp_path / "stderr"
    file.write_text("tenants: {a: {quotas: {requests: many}}}", encoding="utf-8")
    with start([CPH_BRIDGE, "api"], {**environment, "BRIDGE_TENANTS_FILE": str(file)}, log=log) as process:
        wait_until(lambda: process.exit_code is not None, what="its end")
        assert process.exit_code == 2
    assert "tenants.a.quotas.requests" in log.read_text(encoding="utf-8")


def test_it_may_listen_on_a_unix_socket(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    assert serve(BRIDGE_API_BIND=f"unix:{path}").address == f"unix:{path}"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 200 ")


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port
