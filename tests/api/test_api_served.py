"""The API as in production: under gunicorn, started by `cph-bridge api`."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from app.bootstrap.stores import Stores
from app.devkit.processes import PATIENCE_S, start, wait_until
from app.devkit.redis_server import RedisServer
from tests.support.api_client import KEY, SMALLEST
from tests.support.served_api import CPH_BRIDGE, ServedApi, address_of

MakeServedApi = Callable[..., ServedApi]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def make_served_api(environment: dict[str, str], stores: Stores, tmp_path: Path) -> Iterator[MakeServedApi]:
    """On an empty Redis: a stream from the beginning ends at an event that was encrypted with another key."""
    stores.redis.flushall()
    with ExitStack() as stack:

        def make(**more: str) -> ServedApi:
            log = tmp_path / "stderr"
            process = start([CPH_BRIDGE, "api"], {**environment, "BRIDGE_API_WORKERS": "1", **more}, log=log)
            return ServedApi(stack.enter_context(process), log)

        yield make


def test_the_command_serves_the_api_and_ends_cleanly(make_served_api: MakeServedApi) -> None:
    api = make_served_api(BRIDGE_API_WORKERS="2")
    created = api.call("POST", "/v1/registrations", json=SMALLEST)
    assert created.status_code == 201
    response = api.call("GET", created.headers["Location"])
    assert response.json()["id"] == created.json()["id"]
    assert api.process.stop(PATIENCE_S) == 0
    assert {line["event"] for line in api.log} == {"api.listening", "api.request", "audit"}


def test_probes_are_answered_while_slow_clients_hold_every_thread(make_served_api: MakeServedApi) -> None:
    api = make_served_api(BRIDGE_API_THREADS="1")
    with ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(socket.create_connection(address_of(api.address)))
            head = f"POST /v1/registrations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
            client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n".encode())
        assert [api.probe(path) for path in ("/healthz", "/readyz", "/nothing")] == [200, 200, 404]


def test_without_redis_the_log_and_the_probe_say_why(make_served_api: MakeServedApi, tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    api = make_served_api(BRIDGE_REDIS_URL=server.url)
    for _ in range(5):
        answer = requests.get(f"{api.listening['probes']}/readyz", timeout=10)
        assert (answer.status_code, answer.text) == (503, "Redis cannot be reached\n")
        assert api.call("GET", "/v1/projects").status_code == 503
    lines = [line for line in api.log if line["event"] == "redis.unavailable"]
    assert {line["reason"].partition(":")[0] for line in lines} == {"Redis cannot be reached"}
    assert len(lines) == 2  # of the start, and of the process that serves
    with server:
        wait_until(lambda: api.probe("/readyz") == 200, what="the API to be ready")
    assert api.probe("/readyz") == 503
    assert len([line for line in api.log if line["event"] == "redis.unavailable"]) == 3


def test_a_request_in_hand_is_answered_before_the_end(make_served_api: MakeServedApi) -> None:
    api = make_served_api()
    body = json.dumps(SMALLEST).encode()
    head = f"POST /v1/registrations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n"
    with socket.create_connection(address_of(api.address), timeout=10) as client:
        client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        client.sendall(body[:-1])
        # Connections are accepted in order: once this request is answered, the worker has accepted ours.
        assert api.call("GET", "/healthz").status_code == 200
        os.kill(api.process.pid, signal.SIGTERM)
        client.sendall(body[-1:])
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 201 ")
    assert api.process.stop(PATIENCE_S) == 0


@pytest.mark.slow
def test_streams_end_with_the_process_and_hold_it_up_no_longer_than_a_moment(make_served_api: MakeServedApi) -> None:
    api = make_served_api()
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


def test_a_stream_goes_on_while_others_ask_and_sees_what_they_do(make_served_api: MakeServedApi) -> None:
    api = make_served_api(BRIDGE_API_THREADS="1", BRIDGE_API_STREAMS="1")
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


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"BRIDGE_TENANTS_FILE": "tenants.yaml"}, "tenants.a.quotas.requests"),
        ({"BRIDGE_GRANTS_FILE": "tenants.yaml"}, "tenants"),
        ({"BRIDGE_TEMPLATES_DIR": "."}, "bad.json.j2"),
        ({"BRIDGE_OPERATOR_URL": "http://10.0.0.1/s3cret", "BRIDGE_OPERATOR_SECRET": SECRET}, "BRIDGE_OPERATOR_URL"),
    ],
)
def test_a_wrong_file_or_url_is_reported_at_the_start(
    environment: dict[str, str], tmp_path: Path, settings: dict[str, str], reason: str
) -> None:
    (tmp_path / "tenants.yaml").write_text("tenants: {a: {quotas: {requests: many}}}", encoding="utf-8")
    (tmp_path / "bad.json.j2").write_text("{{ nothing }", encoding="utf-8")
    paths = {name: str(tmp_path / value) for name, value in settings.items() if name.endswith(("_FILE", "_DIR"))}
    given = environment | settings | paths
    with start([CPH_BRIDGE, "api"], given, log=tmp_path / "stderr") as process:
        wait_until(lambda: process.exit_code is not None, what="the process to exit")
        assert process.exit_code == 2
    log = (tmp_path / "stderr").read_text(encoding="utf-8")
    assert reason in json.loads(log.splitlines()[-1])["reason"]
    assert "s3cret" not in log


def test_it_may_listen_on_a_unix_socket(make_served_api: MakeServedApi, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    assert make_served_api(BRIDGE_API_BIND=f"unix:{path}").address == f"unix:{path}"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 200 ")
