"""Whatever a Redis answers, no command shows a traceback: one line says whether to wait or what to change."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner, Result

from app.cli.main import main
from app.devkit.redis_server import RedisServer
from tests.support.redis_group import CLIENTS, PASSWORD
from tests.support.unfit_redis import canned_server

WAIT, MISCONFIGURED = 1, 2
NO_PEM = Path(__file__)
# Every error code of Redis, Valkey and Sentinel that a client may get, and texts of proxies.
ERRORS = {
    "ASK 3999 127.0.0.1:6381": MISCONFIGURED,
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": WAIT,
    "CLUSTERDOWN The cluster is down": MISCONFIGURED,
    "CROSSSLOT Keys in request don't hash to the same slot": MISCONFIGURED,
    "DENIED Redis is running in protected mode because protected mode is enabled": MISCONFIGURED,
    "ERR DB index is out of range": MISCONFIGURED,
    "ERR This instance has cluster support disabled": MISCONFIGURED,
    "ERR SELECT is not allowed in cluster mode": MISCONFIGURED,
    "ERR max number of clients reached": WAIT,
    "ERR unknown command `EVALSHA`, with args beginning with: `pw-canary`, ": MISCONFIGURED,
    "ERR upstream failure": MISCONFIGURED,
    "ERR Proxy error, no backend is available": MISCONFIGURED,
    "EXECABORT Transaction discarded because of previous errors.": MISCONFIGURED,
    "IDONTKNOW": MISCONFIGURED,
    "INPROG Failover already in progress": MISCONFIGURED,
    "LOADING Redis is loading the dataset in memory": WAIT,
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": WAIT,
    "MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk.": WAIT,
    "MOVED 3999 127.0.0.1:6381": MISCONFIGURED,
    "NOAUTH Authentication required.": WAIT,
    "NOGOODSLAVE No suitable replica to promote": MISCONFIGURED,
    "NOMASTERLINK Can't SYNC while not connected with my master": MISCONFIGURED,
    "NOPERM this user has no permissions to run the 'evalsha' command": MISCONFIGURED,
    "NOPERM this user has no permissions to access one of the keys used as arguments": MISCONFIGURED,
    "NOPROTO unsupported protocol version": MISCONFIGURED,
    "NOREPLICAS Not enough good replicas to write.": WAIT,
    "NOTBUSY No scripts in execution right now.": MISCONFIGURED,
    "NOTREADY The server is not ready": MISCONFIGURED,
    "OOM command not allowed when used memory > 'maxmemory'.": WAIT,
    "READONLY You can't write against a read only replica.": WAIT,
    "TRYAGAIN Multiple keys request during rehashing of slot": MISCONFIGURED,
    "UNBLOCKED force unblock from blocking operation, instance state changed": WAIT,
    "UNKILLABLE Sorry the script already executed write commands": MISCONFIGURED,
    "WRONGPASS invalid username-password pair or user is disabled.": WAIT,
    "XYZZY an error that no version has yet": MISCONFIGURED,
}
COMMANDS = (["keys", "list", "--tenant", "t"], ["keys", "create", "--tenant", "t"], ["reseal"])
OK = b"+OK\r\n"
HANDSHAKE = {
    b"HELLO": b"%2\r\n+server\r\n+redis\r\n+proto\r\n:3\r\n",
    b"CLIENT": OK,
    b"SELECT": OK,
    b"AUTH": OK,
    b"PING": b"+PONG\r\n",
}


def run(arguments: list[str], url: str, **more: str) -> Result:
    keys = "k1:" + "A" * 43 + "="
    return CliRunner().invoke(main, arguments, env={"BRIDGE_REDIS_URL": url, "BRIDGE_SECRET_KEYS": keys, **more})


def shows_one_line(result: Result, code: int) -> bool:
    return (
        isinstance(result.exception, SystemExit)
        and result.exit_code == code
        and result.output.startswith("Error: ")
        and result.output.count("\n") == 1
        and "pw-canary" not in result.output
        and PASSWORD not in result.output
    )


@pytest.mark.parametrize(("error", "code"), ERRORS.items(), ids=[error.split(",")[0][:40] for error in ERRORS])
@pytest.mark.parametrize("before", [{}, HANDSHAKE], ids=["at once", "after the handshake"])
def test_every_error_of_redis_is_one_line_that_says_whether_to_wait(
    tmp_path: Path, error: str, code: int, before: dict[bytes, bytes]
) -> None:
    with canned_server(before, f"-{error}\r\n".encode())(tmp_path) as url:
        # Once connected, reseal waits out a restart of Redis: for a minute.
        for command in COMMANDS[:2] if before and code == WAIT else COMMANDS:
            result = run(command, url)
            assert shows_one_line(result, code), (command, result.output)


@pytest.mark.parametrize(
    "error", [*ERRORS, "ERR wrong number of arguments"], ids=lambda error: error.partition(",")[0][:40]
)
def test_doctor_fails_with_words_for_every_error_of_redis(tmp_path: Path, error: str) -> None:
    with canned_server({}, f"-{error}\r\n".encode())(tmp_path) as url:
        result = run(["doctor"], url)
    assert isinstance(result.exception, SystemExit), result.output
    assert result.exit_code == 1
    assert "FAIL " in result.output
    assert "Traceback" not in result.output


@contextmanager
def server_that_says(greeting: bytes, after: bytes = b"") -> Iterator[int]:
    """Sends `greeting` to each client, and `after` once the client has sent something."""
    with socket.create_server((CLIENTS, 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client, suppress(ConnectionError):
                    client.sendall(greeting)
                    client.recv(1024)
                    client.sendall(after)

        Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("greeting", "answer"),
    [
        pytest.param(b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", id="HTTP"),
        pytest.param(b"J\0\0\0\n8.0.33\0\x08\0\0\0", b"", id="MySQL"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", b"", id="SSH"),
        pytest.param(b"", b"", id="nothing, as TLS does to plain text"),
        pytest.param(b"", b"$-7\r\n*x\r\n", id="numbers that are none"),
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_server_that_is_no_redis_is_one_line(greeting: bytes, answer: bytes, scheme: str) -> None:
    with server_that_says(greeting, answer) as port:
        result = run(["keys", "list", "--tenant", "t"], f"{scheme}://:{PASSWORD}@{CLIENTS}:{port}/0")
    assert shows_one_line(result, WAIT), result.output


@pytest.mark.parametrize("answer", [b"+OK\r\n", b":7\r\n", b"*0\r\n", b"_\r\n"])
def test_an_answer_of_a_wrong_kind_is_told_as_a_bug_in_one_line(tmp_path: Path, answer: bytes) -> None:
    with canned_server(HANDSHAKE, answer)(tmp_path) as url:
        result = run(["keys", "create", "--tenant", "t"], url)
        shown = run(["keys", "create", "--tenant", "t"], url, BRIDGE_LOG_LEVEL="DEBUG")
    if result.exit_code:
        assert shows_one_line(result, 3), result.output
        assert "this is a bug of cph-bridge" in result.output
        assert not isinstance(shown.exception, SystemExit)  # its traceback


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rediss://h:6379/0?ssl_cert_reqs=CERT_NONE", "ssl_cert_reqs must be one of none, optional, required"),
        ("rediss://h:6379/0?ssl_ca_certs=/nowhere/ca.pem", "ssl_ca_certs: cannot read /nowhere/ca.pem"),
        ("rediss://h:6379/0?nonsense=1", "an option in it is unknown; known are client_name, db, "),
        ("redis://h:6379/0?retry=3", "an option in it is unknown"),
        ("redis://h:6379/0?credential_provider=x", "an option in it is unknown"),
        ("redis://h:6379/0?encoding=nope", "an option in it is unknown"),
        ("redis://h:6379/0?decode_responses=true", "an option in it is unknown"),
        ("redis://h:6379/0?socket_timeout=-1", "socket_timeout must be above 0"),
        ("redis://h:6379/0?health_check_interval=a", "an option or a number in it is invalid"),
        ("redis://h:6379/0?ssl_cert_reqs=none", "an option or a number in it is invalid"),
        ("redis://h:6379/cache", "the path must be the number of a database, such as /0"),
        (f"rediss://h:6379/0?ssl_ca_certs={NO_PEM}", f"ssl_ca_certs: {NO_PEM} holds no CA certificate in PEM"),
        (f"rediss://h:6379/0?ssl_certfile={NO_PEM}", f"ssl_certfile: {NO_PEM} is no certificate in PEM"),
        ("rediss://h:6379/0?ssl_ciphers=pw-canary", "ssl_ciphers: OpenSSL knows none of them"),
        ("redis://:pw-canary@h:port/0", "must be redis://…, rediss://… or unix://…"),
    ],
)
def test_a_wrong_option_of_the_url_is_named(url: str, words: str) -> None:
    result = run(["keys", "list", "--tenant", "t"], url)
    assert shows_one_line(result, MISCONFIGURED), result.output
    assert words in result.output


def test_the_options_that_operators_use_are_taken(redis_server: RedisServer) -> None:
    options = "client_name=b&protocol=3&socket_timeout=5&health_check_interval=30&max_connections=99"
    url = redis_server.url + ("&" if "?" in redis_server.url else "?") + options
    result = run(["keys", "list", "--tenant", "t"], url)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("redis://h/0".encode("utf-16"), "BRIDGE_REDIS_URL_FILE: {file} is not UTF-8"),
        (b"", "BRIDGE_REDIS_URL_FILE: {file} is empty"),
        (b"\n", "BRIDGE_REDIS_URL_FILE: {file} is empty"),
    ],
)
def test_a_file_of_the_url_that_holds_none_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "url"
    file.write_bytes(content)
    result = run(["keys", "list", "--tenant", "t"], "", BRIDGE_REDIS_URL_FILE=str(file))
    assert shows_one_line(result, MISCONFIGURED), result.output
    assert words.format(file=file) in result.output


def test_a_byte_order_mark_in_the_file_of_the_url_is_dropped(tmp_path: Path, redis_server: RedisServer) -> None:
    file = tmp_path / "url"
    file.write_text(f"{redis_server.url}\n", encoding="utf-8-sig")
    assert run(["keys", "list", "--tenant", "t"], "", BRIDGE_REDIS_URL_FILE=str(file)).exit_code == 0
