"""The probe server, by itself."""

import socket
from collections.abc import Iterator

import pytest
import requests

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.domain.errors import Unavailable
from app.observability import listening, probe_server
from app.observability.probe_server import Page


@pytest.fixture(params=["unix:///nowhere/redis.sock", None], ids=["unavailable", "available"])
def probe_target(environment: dict[str, str], request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """The URL of a probe server, and the status that /readyz should have."""
    runtime = Runtime(load(environment | ({"BRIDGE_REDIS_URL": request.param} if request.param else {})))
    listener = listening.listen("BRIDGE_PROBE_BIND", "127.0.0.1:0")
    with probe_server.ProbeServer(listener, probe_server.probes(runtime.stores.redis.ping)) as server:
        server.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", 503 if request.param else 200
        server.shutdown()
    runtime.stores.redis.close()


def test_readiness_is_whether_redis_answers_and_life_is_not(probe_target: tuple[str, int]) -> None:
    url, readiness = probe_target
    answers = [requests.get(url + path, timeout=10).status_code for path in ("/healthz", "/readyz", "/nothing")]
    assert answers == [200, readiness, 404]


def test_a_probe_says_what_is_missing_and_names_no_address() -> None:
    def check() -> None:
        raise Unavailable("Redis cannot be reached: Error 111 connecting to 10.0.0.1:6379. Connection refused.")

    page = probe_server.probes(check)["/readyz"]()
    assert (page.status, page.body) == (503, b"Redis cannot be reached\n")


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a probe server with a page that has a bug."""

    def broken() -> Page:
        raise KeyError("s3cret")

    listener = listening.listen("BRIDGE_PROBE_BIND", "127.0.0.1:0")
    pages = {**probe_server.probes(lambda: None), "/metrics": lambda: Page(200, b"a 1\n"), "/broken": broken}
    with probe_server.ProbeServer(listener, pages) as server:
        server.start()
        yield listener.getsockname()[1]
        server.shutdown()


def send(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request)
        return client.makefile("rb").read()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/nothing"])
def test_head_is_answered_as_get_without_a_body(port: int, path: str) -> None:
    get, head = (requests.request(method, f"http://127.0.0.1:{port}{path}", timeout=10) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"] == str(len(get.content))
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "NONSENSE"])
def test_another_method_is_not_allowed(port: int, method: str) -> None:
    answer = requests.request(method, f"http://127.0.0.1:{port}/healthz", timeout=10)
    assert (answer.status_code, answer.headers["Allow"], answer.text) == (405, "GET, HEAD", "Method Not Allowed\n")
    assert answer.headers["Content-Type"] == "text/plain"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET http://bridge:8081/healthz HTTP/1.1\r\nHost: bridge\r\n\r\n", 200),
        (b"GET /readyz?verbose=1 HTTP/1.1\r\nHost: bridge\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (b"GET http://bridge:8081 HTTP/1.1\r\nHost: bridge\r\n\r\n", 404),
        (b"GET http://[ HTTP/1.1\r\n\r\n", 404),
        (b"GET /healthz HTTP/9.9\r\n\r\n", 505),
        (b"GET /healthz HTTP/x\r\n\r\n", 400),
        (b"GET / nonsense here HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /healthz HTTP/1.1\r\n" + b"X-A: b\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_every_request_is_answered_in_plain_text(port: int, request_bytes: bytes, status: int) -> None:
    head, _, body = send(port, request_bytes).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 %d " % status)
    assert b"Content-Type: text/plain" in head
    assert b"<" not in body


def test_clients_that_send_nothing_keep_no_probe_waiting(port: int) -> None:
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=2).status_code == 200
    for client in clients:
        client.close()


def test_a_page_with_a_bug_prints_no_traceback(
    port: int, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert send(port, b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=10).status_code == 200
    assert [record.getMessage() for record in caplog.records if record.name == "bridge"] == ["probe.failed"]
    assert "s3cret" not in capfd.readouterr().err
