"""Calls through an HTTP proxy, as CPH and IAM may need them."""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.grant import TlsFiles
from app.transport.client import Reply, Transport
from app.transport.proxy import HttpProxy
from app.transport.unreachable import Unreachable
from tests.support.certificates import Authority
from tests.support.connect_proxy import connect_proxy
from tests.support.ports import free_port
from tests.support.scripted_server import Peer, ScriptedServer
from tests.support.server_tls import server_context


def ok(peer: Peer) -> None:
    while peer.request():
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def get(url: str, proxy: str, tls: TlsFiles | None = None, calls: int = 1) -> Reply:
    with closing(Transport(connect=HttpProxy.parse(proxy), tls=tls or TlsFiles())) as transport:
        return [transport.send("GET", url, headers={}, deadline=timedelta(seconds=5)) for _ in range(calls)][-1]


def test_a_cloud_that_only_the_proxy_reaches_answers(serve: Callable[..., ScriptedServer]) -> None:
    server = serve(ok)
    with connect_proxy() as proxy:
        assert get(f"http://cph.example:{server.port}/", f"http://{proxy.address}", calls=3).body == b"ok"
        assert proxy.targets == [f"cph.example:{server.port}"]


def test_tls_goes_through_the_tunnel_to_a_server_of_a_private_authority(
    serve: Callable[..., ScriptedServer], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    server = serve(ok, server_context(authority.certificate("cph.example")))
    url, tls = f"https://cph.example:{server.port}/", TlsFiles(ca=str(authority.file))
    with connect_proxy(login="bridge:p@ss") as proxy:
        assert get(url, f"http://bridge:p%40ss@{proxy.address}", tls).body == b"ok"
        with pytest.raises(Unreachable, match="certificate refused"):
            get(url, f"http://bridge:p%40ss@{proxy.address}")


@pytest.mark.parametrize(
    ("login", "refusal", "told"),
    [
        ("bridge:s3cret", None, "HTTP 407: it asks for a user and password, or refuses those given"),
        (None, 403, "HTTP 403: it does not allow this host and port"),
        (None, 502, "HTTP 502: it opens no connection to this host"),
    ],
)
def test_what_the_proxy_refuses_is_told_as_the_proxys(login: str | None, refusal: int | None, told: str) -> None:
    with connect_proxy(login, refusal) as proxy, pytest.raises(Unreachable) as raised:
        get("https://cph.example/", f"http://bridge:wr0ng@{proxy.address}")
    assert str(raised.value) == f"proxy {proxy.address}: {told}"


def test_a_proxy_that_is_away_is_told_from_a_cloud_that_is_away() -> None:
    port = free_port()
    with pytest.raises(Unreachable, match=f"^proxy 127.0.0.1:{port}: connection refused$"):
        get("https://cph.example/", f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("said", "told"),
    [(b"SSH-2.0-OpenSSH\r\n", "not HTTP: BadStatusLine"), (b"", "connection closed without an answer")],
)
def test_what_is_no_proxy_is_told(serve: Callable[..., ScriptedServer], said: bytes, told: str) -> None:
    def answer(peer: Peer) -> None:
        peer.request()
        peer.send(said)

    server = serve(answer)
    with pytest.raises(Unreachable, match=f"^proxy 127.0.0.1:{server.port}: {told}$"):
        get("https://cph.example/", server.url)


def test_a_proxy_that_never_answers_costs_the_deadline(serve: Callable[..., ScriptedServer]) -> None:
    server = serve(Peer.hang)
    with closing(Transport(connect=HttpProxy.parse(server.url))) as transport, pytest.raises(Unreachable) as raised:
        transport.send("GET", "http://cph.example/", headers={}, deadline=timedelta(seconds=0.3))
    assert str(raised.value) == f"proxy 127.0.0.1:{server.port}: timed out after 0.3 s"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://s3cret@proxy:3128", "a proxy by https is not supported"),
        ("socks5://proxy:1080", "a proxy by socks5 is not supported"),
        ("proxy:3128", "must be http://host:port"),
        ("http://", "must be http://host:port"),
        ("http://proxy:99999", "must be http://host:port"),
        ("http://proxy:0", "must be http://host:port"),
        ("http://pro xy:3128", "must be http://host:port"),
        ("http://u:s3cret#1@proxy:3128", "must be http://host:port"),
        ("http://proxy:3128/path", "must be http://host:port"),
        ("http://proxy:3128/?s3cret", "must end behind the port"),
    ],
)
def test_what_no_proxy_can_be_is_refused_in_words_without_the_password(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as raised:
        HttpProxy.parse(url)
    assert "s3cret" not in str(raised.value)


def test_a_proxy_has_a_default_port_and_shows_no_password() -> None:
    proxy = HttpProxy.parse("HTTP://user:s3cret@[::1]/")
    assert (proxy.address, "s3cret" in repr(proxy), "dXNlc" in repr(proxy)) == ("[::1]:80", False, False)
