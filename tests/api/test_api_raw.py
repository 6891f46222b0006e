"""Raw bytes sent to gunicorn: request smuggling, slow clients, huge headers. The API survives; its probes answer."""

import json
import os
import random
import resource
import shlex
import signal
import socket
import string
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from app.api.worker import BODY_TIMEOUT_S, HEAD_TIMEOUT_S
from app.devkit.processes import start, wait_until
from app.devkit.redis_server import RedisServer
from tests.support import tools
from tests.support.api_client import KEY, SMALLEST
from tests.support.served_api import CPH_BRIDGE, ServedApi, address_of

AUTHORIZED = f"Host: x\r\nAuthorization: Bearer {KEY}\r\n".encode()
BODY = json.dumps(SMALLEST).encode()
JSON = b"Content-Type: application/json\r\n"
POST = b"POST /v1/registrations HTTP/1.1\r\n" + AUTHORIZED + JSON
SMUGGLED = b"GET /v1/keys HTTP/1.1\r\n" + AUTHORIZED + b"\r\n"
PROMPT_S = 2.0  # a few milliseconds, and time for a busy machine
CHUNKED = b"".join((b"%x\r\n" % len(BODY), BODY, b"\r\n0\r\n\r\n"))


@pytest.fixture(scope="module")
def environment(redis_server: RedisServer) -> dict[str, str]:
    return {
        "BRIDGE_REDIS_URL": redis_server.url,
        "BRIDGE_API_BIND": "127.0.0.1:0",
        "BRIDGE_PROBE_BIND": "127.0.0.1:0",
        "BRIDGE_BOOTSTRAP_KEY": KEY,
        "BRIDGE_CPH_PROJECT_ID": "p" * 32,
        "BRIDGE_ALLOW_NETWORKS": "127.0.0.0/8",
        "BRIDGE_API_WORKERS": "1",
        "BRIDGE_API_THREADS": "2",
        "BRIDGE_API_STREAMS": "2",
    }


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[ServedApi]:
    log = tmp_path_factory.mktemp("raw") / "log"
    with start([CPH_BRIDGE, "api"], environment, log=log) as process:
        yield ServedApi(process, log)


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may open 2,000 files; often a thousand is the limit that it begins with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2_000:
        tools.cannot(f"this machine allows only {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def send(api: ServedApi, *parts: bytes, timeout: float = 10) -> bytes:
    """Returns all that the server sends until it closes the connection or sends nothing for `timeout` seconds."""
    with socket.create_connection(address_of(api.address), timeout=timeout) as client:
        answer = b""
        try:
            for part in parts:
                client.sendall(part)
            client.shutdown(socket.SHUT_WR)
            while chunk := client.recv(65_536):
                answer += chunk
        except OSError:
            pass
        return answer


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def assert_alive(api: ServedApi) -> None:
    assert api.process.exit_code is None
    assert [api.probe(path) for path in ("/healthz", "/readyz")] == [200, 200]
    assert api.call("GET", "/v1/projects").status_code == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + CHUNKED + SMUGGLED,
        POST + b"Content-Length: 2\r\nContent-Length: 400\r\n\r\n{}" + SMUGGLED,
        POST + b"Content-Length: 2, 2\r\n\r\n{}" + SMUGGLED,
        POST + b"Content-Length: +2\r\n\r\n{}" + SMUGGLED,
        POST + b"Content-Length: 0x2\r\n\r\n{}" + SMUGGLED,
        POST + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
        POST + b"Content-Length : 2\r\n\r\n{}" + SMUGGLED,
        POST + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKED + SMUGGLED,
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNKED + SMUGGLED,
        POST + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKED + SMUGGLED,
        POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKED + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"zz\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"-1\r\n" + SMUGGLED,
        b"POST /v1/registrations HTTP/1.1\nHost: x\n\n" + SMUGGLED,
        b"GET /v1/projects HTTP/1.1\r\nHost: x\r\n folded: header\r\n\r\n" + SMUGGLED,
        b"GET /v1/projects HTTP/1.1\r\nHost: x\r\nX\x00Y: z\r\n\r\n" + SMUGGLED,
        b"GET /v1/projects HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n" + SMUGGLED,
    ],
)
def test_no_request_hides_in_another(api: ServedApi, request_bytes: bytes) -> None:
    """At most one answer: nothing after an ambiguous request is parsed."""
    answer = send(api, request_bytes)
    assert len(statuses(answer)) <= 1
    assert b'"last_used_at"' not in answer
    assert not {status for status in statuses(answer) if status not in range(400, 500) and status != 501}
    assert_alive(api)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"\r\n" * 2_000,
        b"A" * 100_000,
        b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/projects HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(500)) + b"\r\n",
        b"GET /v1/projects HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /v1/projects HTTP/1.1\r\nCookie: " + b"a=b; " * 20_000 + b"\r\n\r\n",
        b"GET http://evil.example/v1/projects HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/projects HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        POST + b"Expect: 200-maybe\r\nContent-Length: 2\r\n\r\n{}",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + SMUGGLED,
    ],
)
def test_what_is_no_request_of_ours_is_refused(api: ServedApi, request_bytes: bytes) -> None:
    assert not {
        status for status in statuses(send(api, request_bytes)) if status not in range(400, 500) and status != 501
    }
    assert_alive(api)


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("//v1/keys", ""),
        ("///v1/keys", ""),
        ("http://x//v1/keys", ""),
        ("/v1/keys#", ""),
        ("/v1/keys?#", ""),
        ("/x/v1/keys", "SCRIPT_NAME: /x\r\n"),
        ("/x", "PATH_INFO: /v1/keys\r\n"),
        ("/x", "X-Original-URL: /v1/keys\r\nX-Rewrite-URL: /v1/keys\r\nX-Forwarded-Prefix: /x\r\n"),
        ("/open/v1/keys", "SCRIPT_NAME: /open\r\n"),
        ("/open/v1/keys", "Script-Name: /open\r\nX-Script-Name: /open\r\nX-Forwarded-Prefix: /open\r\n"),
    ],
)
def test_a_call_has_one_path(api: ServedApi, target: str, headers: str) -> None:
    """From loopback, whose headers gunicorn believes by default."""
    assert statuses(send(api, f"GET {target} HTTP/1.1\r\n{headers}".encode() + AUTHORIZED + b"\r\n")) == [404]


def test_no_header_changes_what_a_call_is_or_whence_it_comes(api: ServedApi) -> None:
    """`SCRIPT_NAME` and others are as if they had not been sent; contradictory schemes are none of our business."""
    spoofed = b"SCRIPT_NAME: /v1\r\nREMOTE_ADDR: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n"
    post = POST + spoofed + b"X-Forwarded-For: 9.9.9.9\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    assert statuses(send(api, post, BODY)) == [201]
    assert [line["address"] for line in api.log if line["event"] == "audit"][-1] == "127.0.0.1"


@pytest.mark.parametrize(
    "headers",
    [
        "X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n",
        "X-Forwarded-Proto: http\r\nX-Forwarded-Protocol: ssl\r\nX-Forwarded-Ssl: on\r\nFront-End-Https: off\r\n",
        "SCRIPT_NAME: /open\r\nX-Script-Name: /open\r\nX-Forwarded-Prefix: /open\r\nPATH_INFO: /v1/nothing\r\n",
    ],
)
def test_a_sidecar_may_send_whatever_headers_it_likes(api: ServedApi, headers: str) -> None:
    assert statuses(send(api, f"GET /v1/keys HTTP/1.1\r\n{headers}".encode() + AUTHORIZED + b"\r\n")) == [200]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_head_is_answered_by_the_api_too(api: ServedApi, path: str) -> None:
    answer = send(api, f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert statuses(answer) == [200]
    assert answer.partition(b"\r\n\r\n")[2] == b""


def test_a_body_that_ends_early_is_not_taken_for_a_shorter_one(api: ServedApi) -> None:
    """The client ends after what would be a whole body."""
    answer = send(api, POST + b"Content-Length: %d\r\n\r\n" % (len(BODY) + 10), BODY)
    assert statuses(answer) == [400]
    assert b"shorter than its Content-Length" in answer


def test_a_client_that_asks_first_is_told_to_send_its_body(api: ServedApi) -> None:
    with socket.create_connection(address_of(api.address), timeout=10) as client:
        expecting = b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY)
        client.sendall(POST + expecting)
        assert client.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(BODY)
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 201 ")


def test_sizes_are_bounded_with_and_without_a_length(api: ServedApi) -> None:
    large = b'{"a":"' + b"x" * 400_000 + b'"}'
    with_length = send(api, POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(large), large)
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(large), large)
    chunked = send(api, POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n", chunk)
    # A client that still sends when the server closes the connection may lose the answer.
    assert statuses(with_length) in ([413], [])
    assert statuses(chunked) in ([413], [])
    small = send(api, POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED)
    assert statuses(small) == [201]
    assert_alive(api)


def test_clients_that_drip_cannot_keep_the_probes_from_answering(api: ServedApi) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(address_of(api.address))) for _ in range(12)]
        for client in clients:
            client.sendall(POST + b"Content-Length: 100\r\n\r\n{")
        for _ in range(3):
            for client in clients:
                client.sendall(b" ")
            assert [api.probe(path) for path in ("/healthz", "/readyz")] == [200, 200]
    wait_until(lambda: requests.get(f"{api.address}/healthz", timeout=10).ok, what="the API to answer again")
    assert_alive(api)


SLOW_CLIENTS = {
    "send nothing": b"",
    "drip a head": b"GET /v1/projects HTTP/1.1\r\nHost: x\r\nX-A: ",
    "drip a second head": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /heal",
    "drip a body without a key": b"POST /v1/keys HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n",
    "leave connections open": b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "stay idle": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "do not read pages": b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("kind", SLOW_CLIENTS)
def test_slow_clients_without_a_key_keep_nobody_waiting(api: ServedApi, kind: str) -> None:
    """Each would take one of four threads for seconds."""
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(100)]
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            client.connect(address_of(api.address))
            client.sendall(SLOW_CLIENTS[kind])
        # The last of these connections has been accepted once a call on a later one is answered.
        api.call("GET", "/healthz")
        for _ in range(3):
            if "drip" in kind:
                for client in clients:
                    with suppress(OSError):  # refused and closed
                        client.send(b"a")
            began = time.monotonic()
            assert api.call("GET", "/v1/projects").status_code == 200
            assert time.monotonic() - began < PROMPT_S


def test_a_head_that_does_not_come_in_time_closes_the_connection(api: ServedApi) -> None:
    with socket.create_connection(address_of(api.address), timeout=HEAD_TIMEOUT_S + 10) as client:
        began = time.monotonic()
        client.sendall(b"GET /healthz HT")
        assert client.recv(1) == b""
        assert HEAD_TIMEOUT_S - 1 < time.monotonic() - began < HEAD_TIMEOUT_S + 5


def test_a_body_that_does_not_come_in_time_is_refused_and_nothing_after_it_is_read(api: ServedApi) -> None:
    """What comes later belongs to the body, and is no request of its own."""
    with socket.create_connection(address_of(api.address), timeout=BODY_TIMEOUT_S + 10) as client:
        client.sendall(POST + b"Content-Length: 1000\r\n\r\n{")
        answer = client.recv(65_536)
        with suppress(OSError):
            client.sendall(SMUGGLED)
            while chunk := client.recv(65_536):
                answer += chunk
    assert statuses(answer) == [408]
    assert b"application/problem+json" in answer
    assert b"The body did not come within 10 s." in answer


@pytest.mark.parametrize("chunk", [b"", b"5\r\n{", b"1\r\n{\r\n"])
def test_a_chunked_body_that_does_not_come_in_time_is_told_the_same(api: ServedApi, chunk: bytes) -> None:
    with socket.create_connection(address_of(api.address), timeout=BODY_TIMEOUT_S + 10) as client:
        client.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
        assert statuses(client.makefile("rb").read()) == [408]


def test_a_head_in_pieces_is_one_request(api: ServedApi) -> None:
    with socket.create_connection(address_of(api.address), timeout=10) as client:
        for byte in b"GET /v1/projects HTTP/1.1\r\nConnection: close\r\n" + AUTHORIZED + b"\r\n":
            client.sendall(bytes([byte]))
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 200 ")


def test_requests_in_one_piece_are_answered_in_order(api: ServedApi) -> None:
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    post = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    refused = b"POST /v1/keys HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    assert statuses(send(api, get + post + refused + get)) == [200, 201, 401, 200]


@pytest.mark.usefixtures("many_files")
def test_more_connections_than_fit_close_the_slowest(api: ServedApi) -> None:
    """gunicorn accepts 1,000 for each process."""
    with ExitStack() as stack:
        for _ in range(1_100):
            client = stack.enter_context(socket.create_connection(address_of(api.address), timeout=10))
            client.sendall(b"GET")
        began = time.monotonic()
        assert api.call("GET", "/v1/projects").status_code == 200
        assert time.monotonic() - began < PROMPT_S


@pytest.mark.usefixtures("many_files")
def test_a_connection_that_is_closed_to_make_room_may_have_sent_something_at_that_moment(api: ServedApi) -> None:
    """The processes are suspended, so that they see both at once: a further connection, and data on the oldest."""
    with ExitStack() as stack:

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(address_of(api.address), timeout=10))

        clients = [connect() for _ in range(1_000)]
        assert api.call("GET", "/v1/projects").status_code == 200  # so all are accepted
        os.killpg(api.process.pid, signal.SIGSTOP)
        connect()
        for client in clients:
            client.sendall(b"GET")
        os.killpg(api.process.pid, signal.SIGCONT)
        assert api.call("GET", "/v1/projects").status_code == 200
    assert [line for line in api.log if "Exception in worker process" in line.get("message", "")] == []


def test_more_connections_than_the_process_may_open_files_close_the_slowest(
    environment: dict[str, str], tmp_path: Path
) -> None:
    command = f"ulimit -n 128 && exec {shlex.quote(str(CPH_BRIDGE))} api"
    with start(["sh", "-c", command], environment, log=tmp_path / "log") as process, ExitStack() as stack:
        api = ServedApi(process, tmp_path / "log")
        for _ in range(200):
            client = stack.enter_context(socket.create_connection(address_of(api.address), timeout=10))
            client.sendall(b"GET")
        assert api.call("GET", "/v1/projects").status_code == 200
        assert [line for line in api.log if "Exception in worker process" in line.get("message", "")] == []


def test_noise_ends_nothing(api: ServedApi) -> None:
    """Valid requests with bytes changed, removed, duplicated or inserted."""
    rng = random.Random(6)
    valid = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    deadline = time.monotonic() + 10
    attempts = 0
    while attempts < 400 and time.monotonic() < deadline:
        attempts += 1
        for status in statuses(send(api, noisy(valid, rng), timeout=2)):
            assert status != 500
    assert attempts > 50
    assert_alive(api)
    assert api.event("api.failed") is None


def noisy(valid: bytes, rng: random.Random) -> bytes:
    changed = bytearray(valid)
    for _ in range(rng.randint(1, 6)):
        position = rng.randrange(len(changed))
        match rng.randrange(4):
            case 0:
                changed[position] = rng.randrange(256)
            case 1:
                del changed[position : position + rng.randint(1, 30)]
            case 2:
                changed[position:position] = changed[position : position + rng.randint(1, 60)]
            case _:
                changed[position:position] = rng.choice(string.printable).encode() * rng.choice((1, 1, 5_000))
    return bytes(changed)
