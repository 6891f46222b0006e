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

from app.api.server import SHARED_MEMORY
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


@pytest.mark.parametrize(
    ("bind", "reason"),
    [
        ("nonsense", "'nonsense' is not host:port"),
        ("0.0.0.0", "is not host:port"),
        ("[::1", "is not host:port"),
        ("203.0.113.1:8080", "it is no address of this machine"),
        ("unix:/nowhere/api.sock", "cannot listen on /nowhere/api.sock: No such file or directory"),
        ("fd://999", "fd://999 is no listening socket"),
        ("fd://x", "fd://x is no listening socket"),
    ],
)
def test_an_address_that_the_api_cannot_have_is_one_line(
    environment: dict[str, str], tmp_path: Path, bind: str, reason: str
) -> None:
    with start([CPH_BRIDGE, "api"], environment | {"BRIDGE_API_BIND": bind}, log=tmp_path / "log") as process:
        assert wait_until(lambda: process.exit_code, what="the process to exit") == 2
    [line] = map(json.loads, (tmp_path / "log").read_text(encoding="utf-8").splitlines())
    assert line["event"] == "settings.wrong"
    assert line["reason"].startswith("BRIDGE_API_BIND: ")
    assert reason in line["reason"]


@pytest.mark.parametrize("setting", ["BRIDGE_API_BIND", "BRIDGE_PROBE_BIND", "BRIDGE_METRICS_BIND"])
def test_a_port_in_use_is_one_line(environment: dict[str, str], tmp_path: Path, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with start([CPH_BRIDGE, "api"], environment | {setting: bind}, log=tmp_path / "log") as process:
            assert wait_until(lambda: process.exit_code, what="the process to exit") == 2
    [line] = map(json.loads, (tmp_path / "log").read_text(encoding="utf-8").splitlines())
    assert line["reason"].startswith(f"{setting}: cannot listen on {bind}: Address already in use; ")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_probes_and_scrapes_over_ipv4_reach_what_listens_on_all_ipv6_addresses(make_served_api: MakeServedApi) -> None:
    binds = dict.fromkeys(("BRIDGE_API_BIND", "BRIDGE_PROBE_BIND", "BRIDGE_METRICS_BIND"), "[::]:0")
    api = make_served_api(**binds)
    listening = api.listening
    urls = (f"{listening['addresses'][0]}/healthz", f"{listening['probes']}/readyz", listening["metrics"])
    for url in urls:
        for host in ("127.0.0.1", "[::1]"):
            assert requests.get(url.replace("[::]", host), timeout=10).status_code == 200
    api.address = api.address.replace("[::]", "127.0.0.1")
    assert api.call("POST", "/v1/registrations", json=SMALLEST).status_code == 201
    audit = wait_until(lambda: api.event("audit"), what="its line")
    assert audit["address"] == "127.0.0.1"


def test_what_gunicorn_reads_from_the_environment_changes_nothing_and_is_warned_of(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Each of these made every call a 500, ended the API with a traceback, or moved it elsewhere."""
    given = {
        "SCRIPT_NAME": "/open",
        "WEB_CONCURRENCY": "abc",
        "GUNICORN_CMD_ARGS": "--bind 127.0.0.1:1 --workers 9",
        "GUNICORN_PID": "1",
        "GUNICORN_FD": "0",
        "FORWARDED_ALLOW_IPS": "*",
        "PORT": "x",
        "SENDFILE": "x",
        "LISTEN_FDS": "x",
        "FLASK_DEBUG": "1",
    }
    command = f"LISTEN_PID=$$ exec {CPH_BRIDGE} api"
    one_worker = environment | {"BRIDGE_API_WORKERS": "1"}
    with start(["sh", "-c", command], one_worker | given, log=tmp_path / "log") as process:
        api = ServedApi(process, tmp_path / "log")
        assert [api.call("GET", path).status_code for path in ("/v1/keys", "/open/v1/keys")] == [200, 404]
        warned = wait_until(lambda: api.event("environment.ignored"), what="a warning")
    assert set(warned["names"]) == {*given, "LISTEN_PID"}
    assert warned["level"] == "warning"


def test_what_a_killed_api_has_left_in_memory_is_gone_once_the_next_has_started(make_served_api: MakeServedApi) -> None:
    killed = make_served_api()
    [left] = SHARED_MEMORY.glob(f"cph-bridge-counts-{killed.process.pid}-*")
    os.kill(killed.process.pid, signal.SIGKILL)  # its children notice a second later
    wait_until(lambda: killed.process.exit_code is not None, what="its end")
    assert left.is_dir()
    make_served_api()
    wait_until(lambda: not left.exists(), what="its folder to be removed")


def test_it_may_listen_on_a_unix_socket(make_served_api: MakeServedApi, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    assert make_served_api(BRIDGE_API_BIND=f"unix:{path}").address == f"unix:{path}"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 200 ")
