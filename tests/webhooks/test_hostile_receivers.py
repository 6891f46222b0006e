"""Malicious and broken receivers: every attempt has its verdict, by the deadline and with little memory."""

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from time import monotonic

import pytest

from app.domain.address import AddressPolicy
from app.domain.grant import Grant, TlsFiles
from app.domain.verdict import Verdict
from app.webhooks.sender import Attempt, Sender
from tests.support.certificates import Authority
from tests.support.scripted_server import Peer, ScriptedServer, serving
from tests.support.server_tls import server_context

DEADLINE = timedelta(seconds=1)
TOLERANCE_S = 0.5
MIB = 1024 * 1024
MAX_GROWTH = 32 * MIB
BODY = b'{"id":"evt_1"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    with serving() as start:
        yield start


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def sender(authority: Authority) -> Iterator[Sender]:
    grant = Grant(
        tenants=frozenset({"t"}),
        hosts=frozenset({"127.0.0.1"}),
        networks=(),
        ports=frozenset(range(1, 65536)),
        schemes=frozenset({"https"}),
        tls=TlsFiles(ca=str(authority.file)),
    )
    policy = AddressPolicy(False, frozenset({443}), (ip_network("127.0.0.0/8"),), (grant,))
    now = datetime(2019, 4, 26, 7, 0, 0, tzinfo=UTC)
    with closing(Sender(policy=lambda: policy, deadline=DEADLINE, user_agent="test", clock=lambda: now)) as sender:
        yield sender


def resident_bytes(field: str) -> int:
    """Reads the memory of this process: VmRSS is the current size, VmHWM the peak since its last reset."""
    found = re.search(rf"{field}:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found
    return int(found[1]) * 1024


def checked_attempt(sender: Sender, server: ScriptedServer, body: bytes = BODY) -> Attempt:
    """Makes an attempt, and checks its time, its memory and that it keeps the URL secret."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before, started_at = resident_bytes("VmRSS"), monotonic()
    attempt = sender.post(f"{server.url}/hooks/s3cret", tenant="t", headers={}, body=body)
    took = monotonic() - started_at
    assert took < DEADLINE.total_seconds() + TOLERANCE_S
    assert resident_bytes("VmHWM") - before < MAX_GROWTH
    assert attempt.timings.total.total_seconds() == pytest.approx(took, abs=TOLERANCE_S)
    assert "s3cret" not in str(attempt)
    return attempt


@cache
def bomb() -> bytes:
    """Compresses 300 MB of zeros, which takes about a second."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(300)) + packer.flush()


@pytest.fixture(autouse=True, scope="module")
def _cached_bomb() -> None:
    """Builds the bomb before any test measures time."""
    bomb()


def head(status: int, headers: bytes, length: int) -> bytes:
    return b"HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n" % (status, headers, length)


def sending_bomb(status: int) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        headers = b"Content-Encoding: gzip\r\nLocation: http://10.0.0.5/\r\n"
        sending(head(status, headers, len(bomb())), bomb())(peer)

    return script


def sending(*parts: bytes, then: Callable[[Peer], None] = Peer.hang, first: bool = False) -> Callable[[Peer], None]:
    """Sends `parts` after it has read the request, or without reading it if `first`."""

    def script(peer: Peer) -> None:
        if not first:
            peer.request()
        for part in parts:
            peer.send(part)
        then(peer)

    return script


def dripping(peer: Peer) -> None:
    peer.drip(b"x")


def flooding(peer: Peer) -> None:
    peer.drip(bytes(MIB), pause=0)


def leaving(peer: Peer) -> None:
    peer.leave()


@dataclass(frozen=True)
class HostileAnswer:
    script: Callable[[Peer], None]
    verdict: Verdict
    status: int | None
    error: str | None
    body: bytes = BODY


TIMED_OUT, TOO_MUCH = "timed out after 1 s", "too many bytes before the body of the answer"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HOSTILE_ANSWERS = {
    "drips headers": HostileAnswer(sending(b"HTTP/1.1 200 OK\r\nX: ", then=dripping), Verdict.RETRY, None, TIMED_OUT),
    "drips its status line": HostileAnswer(sending(b"HTTP/1.1 2", then=dripping), Verdict.RETRY, None, TIMED_OUT),
    "drips the body of a 200": HostileAnswer(sending(head(200, b"", 999), then=dripping), Verdict.DELIVERED, 200, None),
    "drips the body of a 503": HostileAnswer(sending(head(503, b"", 999), then=dripping), Verdict.RETRY, 503, None),
    "drips the body of a 302": HostileAnswer(sending(head(302, b"", 999), then=dripping), Verdict.REFUSED, 302, None),
    "bombs on 200": HostileAnswer(sending_bomb(200), Verdict.DELIVERED, 200, None),
    "bombs on 302": HostileAnswer(sending_bomb(302), Verdict.REFUSED, 302, None),
    "floods on 200": HostileAnswer(sending(head(200, b"", 10**12), then=flooding), Verdict.DELIVERED, 200, None),
    "floods on 302": HostileAnswer(sending(head(302, b"", 10**12), then=flooding), Verdict.REFUSED, 302, None),
    "never answers": HostileAnswer(sending(), Verdict.RETRY, None, TIMED_OUT),
    "never reads": HostileAnswer(Peer.hang, Verdict.RETRY, None, TIMED_OUT, body=bytes(16 * MIB)),
    "closes after the request": HostileAnswer(
        sending(then=leaving), Verdict.RETRY, None, "connection closed without an answer"
    ),
    "closes in its headers": HostileAnswer(
        sending(b"HTTP/1.1 200 OK\r\nX: y", then=leaving), Verdict.DELIVERED, 200, None
    ),
    "closes in its body": HostileAnswer(sending(head(200, b"", 9) + b"ok", then=leaving), Verdict.DELIVERED, 200, None),
    "answers before the request is read": HostileAnswer(sending(OK, first=True), Verdict.DELIVERED, 200, None),
    "answers before a long request is read": HostileAnswer(
        sending(head(413, b"", 0), then=leaving, first=True), Verdict.REFUSED, 413, None, body=bytes(16 * MIB)
    ),
    "says 100 a thousand times": HostileAnswer(sending(CONTINUE * 1000, OK), Verdict.DELIVERED, 200, None),
    "says 100 for ever": HostileAnswer(
        sending(then=lambda peer: peer.drip(CONTINUE * 1000, pause=0)), Verdict.RETRY, None, TOO_MUCH
    ),
    "sends 2 MB in one header": HostileAnswer(
        sending(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2 * MIB), Verdict.RETRY, None, "not HTTP: LineTooLong"
    ),
    "sends 2 MB of headers": HostileAnswer(
        sending(b"HTTP/1.1 200 OK\r\n" + (b"X: " + b"y" * 60_000 + b"\r\n") * 35), Verdict.RETRY, None, TOO_MUCH
    ),
    "sends 2 MB of small headers": HostileAnswer(
        sending(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 350_000), Verdict.RETRY, None, "not HTTP: HTTPException"
    ),
    "speaks another protocol": HostileAnswer(
        sending(b"SSH-2.0-OpenSSH_9.2\r\n"), Verdict.RETRY, None, "not HTTP: BadStatusLine"
    ),
}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in HOSTILE_ANSWERS.items()])
def test_a_hostile_receiver_has_its_verdict_in_time_and_takes_no_memory(
    sender: Sender, serve: Callable[..., ScriptedServer], case: HostileAnswer
) -> None:
    attempt = checked_attempt(sender, serve(case.script), case.body)
    assert (attempt.verdict, attempt.status_code, attempt.error) == (case.verdict, case.status, case.error)


def test_a_certificate_that_is_good_is_good(
    sender: Sender, serve: Callable[..., ScriptedServer], authority: Authority
) -> None:
    attempt = checked_attempt(sender, serve(sending(OK), server_context(authority.certificate("127.0.0.1"))))
    assert attempt.verdict is Verdict.DELIVERED
    assert attempt.timings.tls


@pytest.mark.parametrize(
    ("names", "life", "reason"),
    [
        (["bot.example"], timedelta(days=36500), "IP address mismatch, certificate is not valid for '127.0.0.1'."),
        (["127.0.0.1"], timedelta(days=1), "certificate has expired"),
        (["127.0.0.1"], None, "unable to get local issuer certificate"),
    ],
    ids=["wrong name", "expired", "unknown"],
)
def test_a_certificate_that_is_not_good_is_tried_again(
    sender: Sender,
    serve: Callable[..., ScriptedServer],
    authority: Authority,
    tmp_path: Path,
    names: list[str],
    life: timedelta | None,
    reason: str,
) -> None:
    pem = authority.certificate(*names, life=life) if life else Authority(tmp_path, "unknown").certificate(*names)
    attempt = checked_attempt(sender, serve(sending(OK), server_context(pem)))
    assert (attempt.verdict, attempt.error) == (Verdict.RETRY, f"TLS: certificate refused: {reason}")
    assert attempt.timings.connect is not None
    assert attempt.timings.tls is None


@pytest.mark.parametrize("script", [Peer.hang, dripping], ids=["hangs", "drips"])
def test_a_handshake_without_an_end_is_tried_again(
    sender: Sender, serve: Callable[..., ScriptedServer], script: Callable[[Peer], None]
) -> None:
    # The first bytes of a long TLS record: valid so far.
    server = serve(sending(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\x00", first=True, then=script))
    server.url = server.url.replace("http:", "https:")
    attempt = checked_attempt(sender, server)
    assert (attempt.verdict, attempt.error) == (Verdict.RETRY, TIMED_OUT)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_inward_is_not_followed(sender: Sender, serve: Callable[..., ScriptedServer], status: int) -> None:
    inward = serve(sending(OK))
    attempt = checked_attempt(sender, serve(sending(head(status, f"Location: {inward.url}/\r\n".encode(), 0))))
    assert (attempt.verdict, attempt.status_code, inward.connections) == (Verdict.REFUSED, status, 0)


def test_a_cookie_is_not_brought_back(sender: Sender, serve: Callable[..., ScriptedServer]) -> None:
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        while request := peer.request():
            seen.append(request)
            peer.send(head(200, b"Set-Cookie: session=1; Path=/\r\n", 0))

    server = serve(script)
    for _ in range(2):
        assert checked_attempt(sender, server).verdict is Verdict.DELIVERED
    assert (len(seen), server.connections) == (2, 1)
    assert not any(b"cookie" in request.lower() for request in seen)


def test_a_receiver_that_closes_idle_connections_costs_no_attempt(
    sender: Sender, serve: Callable[..., ScriptedServer]
) -> None:
    server = serve(sending(OK, then=leaving))
    for _ in range(3):
        assert checked_attempt(sender, server).verdict is Verdict.DELIVERED
    assert server.connections == 3
