"""The transport over TLS, with certificates of a test authority."""

import os
import random
import ssl
from contextlib import closing
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.domain.grant import TlsFiles
from app.transport.client import Transport
from app.transport.unreachable import Unreachable, UnreachableKind
from tests.support.certificates import Authority
from tests.support.server_tls import server_context

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SHORT = timedelta(seconds=1)
LONG = timedelta(seconds=8)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def client_tls(authority: Authority) -> TlsFiles:
    return TlsFiles(ca=str(authority.file))


@pytest.fixture
def server_tls(authority: Authority) -> ssl.SSLContext:
    return server_context(authority.certificate("127.0.0.1"))


def echo(peer):
    while request := peer.request():
        body = request.split(b"\r\n\r\n", 1)[1]
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def get(url, deadline=LONG, **options):
    with closing(Transport()) as transport:
        return transport.send("GET", url, headers={}, deadline=deadline, **options)


def failure(url, deadline=LONG, **options):
    with pytest.raises(Unreachable) as caught:
        get(url, deadline, **options)
    return caught.value


def test_a_trusted_certificate_is_accepted_and_the_connection_kept(serve, server_tls, client_tls):
    server = serve(echo, server_tls)
    with closing(Transport()) as transport:
        for size in (2, 200_000):
            body = b"x" * size
            reply = transport.send(
                "POST", server.url, headers={}, body=body, deadline=LONG, max_bytes=200_000, tls=client_tls
            )
            assert reply.body == body
    assert server.connections == 1


def test_a_certificate_that_nobody_vouches_for_is_refused(serve, server_tls):
    error = failure(serve(echo, server_tls).url)
    assert (error.kind, str(error)) == (
        UnreachableKind.TLS,
        "TLS: certificate refused: unable to get local issuer certificate",
    )


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_whom_to_trust_does_not_come_from_the_environment(serve, server_tls, client_tls, monkeypatch, name):
    monkeypatch.setenv(name, client_tls.ca)
    assert failure(serve(echo, server_tls).url).kind is UnreachableKind.TLS


def test_a_certificate_for_another_name_is_refused(serve, authority, client_tls):
    error = failure(serve(echo, server_context(authority.certificate("bot.example"))).url, tls=client_tls)
    assert error.kind is UnreachableKind.TLS
    assert "mismatch" in str(error)


def test_a_certificate_that_has_expired_is_refused(serve, authority, client_tls):
    expired = authority.certificate("127.0.0.1", life=timedelta(days=1))
    error = failure(serve(echo, server_context(expired)).url, tls=client_tls)
    assert (error.kind, str(error)) == (UnreachableKind.TLS, "TLS: certificate refused: certificate has expired")


def test_an_authority_for_one_destination_is_trusted_there_alone(serve, server_tls, client_tls):
    server = serve(echo, server_tls)
    with closing(Transport()) as transport:
        transport.send("POST", server.url, headers={}, body=b"", deadline=LONG, tls=client_tls)
        with pytest.raises(Unreachable, match="certificate refused"):
            transport.send("POST", server.url, headers={}, body=b"", deadline=LONG)


@pytest.fixture
def mutual_tls(server_tls: ssl.SSLContext, authority: Authority) -> ssl.SSLContext:
    """The context of a server that requires a client certificate."""
    server_tls.verify_mode = ssl.CERT_REQUIRED
    server_tls.load_verify_locations(authority.file)
    return server_tls


def answer_with_serial_number(peer):
    """Answers with the serial number of the client's certificate."""
    serial = peer.sock.getpeercert()["serialNumber"].encode()
    while peer.request():
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(serial), serial))


def test_a_server_that_wants_a_certificate_sees_the_one_for_it(serve, mutual_tls, authority):
    server = serve(answer_with_serial_number, mutual_tls)
    with_certificate = TlsFiles(ca=str(authority.file), certificate=authority.certificate("bridge.example"))
    assert len(get(server.url, tls=with_certificate).body) > 10
    error = failure(server.url, tls=TlsFiles(ca=str(authority.file)))
    # The server's alert is lost if its reset arrives first.
    assert str(error) in ("TLS: tlsv13 alert certificate required", "connection closed without an answer")


def test_a_certificate_that_was_renewed_is_shown_without_a_restart(serve, mutual_tls, authority, tmp_path):
    server = serve(answer_with_serial_number, mutual_tls)
    file = tmp_path / "shown.pem"
    with_certificate = TlsFiles(ca=str(authority.file), certificate=str(file))
    serial_numbers = set()
    with closing(Transport()) as transport:
        for renewal in range(2):
            file.write_bytes((tmp_path / authority.certificate("bridge.example")).read_bytes())
            os.utime(file, ns=(renewal, renewal))
            for _ in range(2):
                serial_numbers.add(
                    transport.send("GET", server.url, headers={}, deadline=LONG, tls=with_certificate).body
                )
    assert (len(serial_numbers), server.connections) == (2, 2)


@pytest.mark.parametrize("content", [None, b"", b"nonsense", "encrypted"])
def test_files_that_cannot_be_used_are_reported_and_nobody_is_called(serve, server_tls, tmp_path, caplog, content):
    file = tmp_path / "shown.pem"
    if content == "encrypted":
        key = ec.generate_private_key(ec.SECP256R1())
        secret = serialization.BestAvailableEncryption(b"word")
        content = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    if content is not None:
        file.write_bytes(content)
    server = serve(echo, server_tls)
    error = failure(server.url, tls=TlsFiles(certificate=str(file)))
    assert (error.kind, server.connections) == (UnreachableKind.TLS, 0)
    assert str(error) == "TLS: the operator's files for this destination cannot be used"
    assert str(file) in caplog.text


def test_a_server_that_does_not_speak_tls_is_a_tls_error(serve):
    server = serve(lambda peer: peer.send(b"HTTP/1.1 400 No\r\n\r\n"))
    error = failure(server.url.replace("http:", "https:"))
    assert (error.kind, str(error)) == (UnreachableKind.TLS, "TLS: wrong version number")


def test_a_handshake_that_never_ends_is_a_timeout(serve):
    server = serve(lambda peer: peer.hang())
    assert failure(server.url.replace("http:", "https:"), SHORT).kind is UnreachableKind.TIMEOUT


def test_a_server_that_hangs_up_in_the_handshake_has_closed(serve):
    server = serve(lambda peer: peer.sock.recv(1))
    assert failure(server.url.replace("http:", "https:")).kind is UnreachableKind.CLOSED


def test_a_body_that_drips_through_tls_ends_with_the_deadline(serve, server_tls, client_tls):
    def script(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.drip(b"x")

    reply = get(serve(script, server_tls).url, SHORT, tls=client_tls)
    assert (reply.status, reply.truncated) == (200, True)


def test_a_body_longer_than_any_buffer_arrives_whole(serve, server_tls, client_tls):
    digests = []

    def script(peer):
        digests.append(sha256(peer.request().split(b"\r\n\r\n", 1)[1]).digest())
        peer.send(OK)

    body = random.Random(1).randbytes(20_000_000)
    with closing(Transport()) as transport:
        for server in (serve(script, server_tls), serve(script)):
            assert (
                transport.send("POST", server.url, headers={}, body=body, deadline=LONG, tls=client_tls).status == 200
            )
    assert digests == [sha256(body).digest()] * 2


def test_a_server_that_does_not_read_through_tls_is_a_timeout(serve, server_tls, client_tls):
    server = serve(lambda peer: peer.hang(), server_tls)
    with closing(Transport()) as transport, pytest.raises(Unreachable) as caught:
        transport.send("POST", server.url, headers={}, body=bytes(20_000_000), deadline=SHORT, tls=client_tls)
    assert caught.value.kind is UnreachableKind.TIMEOUT
