"""The transport over TLS, with a certificate of the test's own."""

import os
import random
import ssl
from contextlib import closing
from datetime import timedelta
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.domain.grant import TlsFiles
from app.transport.client import Transport
from app.transport.unreachable import Unreachable, UnreachableKind
from tests.support.certificates import Authority

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SHORT = timedelta(seconds=1)
LONG = timedelta(seconds=8)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def trusting(authority):
    return TlsFiles(ca=str(authority.file))


def context(pem):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.fixture
def own(authority):
    return context(authority.certificate("127.0.0.1"))


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


def test_a_trusted_certificate_is_accepted_and_the_connection_kept(serve, own, trusting):
    server = serve(echo, own)
    with closing(Transport()) as transport:
        for size in (2, 200_000):
            body = b"x" * size
            reply = transport.send(
                "POST", server.url, headers={}, body=body, deadline=LONG, max_bytes=200_000, tls=trusting
            )
            assert reply.body == body
    assert server.connections == 1


def test_a_certificate_that_nobody_vouches_for_is_refused(serve, own):
    error = failure(serve(echo, own).url)
    assert (error.kind, str(error)) == (
        UnreachableKind.TLS,
        "TLS: certificate refused: unable to get local issuer certificate",
    )


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_whom_to_trust_does_not_come_from_the_environment(serve, own, trusting, monkeypatch, name):
    monkeypatch.setenv(name, trusting.ca)
    assert failure(serve(echo, own).url).kind is UnreachableKind.TLS


def test_a_certificate_for_another_name_is_refused(serve, authority, trusting):
    error = failure(serve(echo, context(authority.certificate("bot.example"))).url, tls=trusting)
    assert error.kind is UnreachableKind.TLS
    assert "mismatch" in str(error)


def test_a_certificate_that_has_expired_is_refused(serve, authority, trusting):
    expired = authority.certificate("127.0.0.1", life=timedelta(days=1))
    error = failure(serve(echo, context(expired)).url, tls=trusting)
    assert (error.kind, str(error)) == (UnreachableKind.TLS, "TLS: certificate refused: certificate has expired")


def test_an_authority_for_one_destination_is_trusted_there_alone(serve, own, trusting):
    server = serve(echo, own)
    with closing(Transport()) as transport:
        transport.send("POST", server.url, headers={}, body=b"", deadline=LONG, tls=trusting)
        with pytest.raises(Unreachable, match="certificate refused"):
            transport.send("POST", server.url, headers={}, body=b"", deadline=LONG)


@pytest.fixture
def wanting(own, authority):
    """A server's context that wants to see a certificate of ours."""
    own.verify_mode = ssl.CERT_REQUIRED
    own.load_verify_locations(authority.file)
    return own


def answer_with_subject(peer):
    """The serial number of what the client has shown."""
    serial = peer.sock.getpeercert()["serialNumber"].encode()
    while peer.request():
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(serial), serial))


def test_a_server_that_wants_a_certificate_sees_the_one_for_it(serve, wanting, authority):
    server = serve(answer_with_subject, wanting)
    shown = TlsFiles(ca=str(authority.file), certificate=authority.certificate("bridge.example"))
    assert len(get(server.url, tls=shown).body) > 10
    error = failure(server.url, tls=TlsFiles(ca=str(authority.file)))
    # The server's reason is lost if its reset is quicker.
    assert str(error) in ("TLS: tlsv13 alert certificate required", "connection closed without an answer")


def test_a_certificate_that_was_renewed_is_shown_without_a_restart(serve, wanting, authority, tmp_path):
    server = serve(answer_with_subject, wanting)
    file = tmp_path / "shown.pem"
    shown = TlsFiles(ca=str(authority.file), certificate=str(file))
    seen = set()
    with closing(Transport()) as transport:
        for turn in range(2):
            file.write_bytes((tmp_path / authority.certificate("bridge.example")).read_bytes())
            os.utime(file, ns=(turn, turn))
            for _ in range(2):
                seen.add(transport.send("GET", server.url, headers={}, deadline=LONG, tls=shown).body)
    assert (len(seen), server.connections) == (2, 2)


@pytest.mark.parametrize("content", [None, b"", b"nonsense", "encrypted"])
def test_files_that_cannot_be_used_are_said_to_be_and_nobody_is_called(serve, own, tmp_path, caplog, content):
    file = tmp_path / "shown.pem"
    if content == "encrypted":
        key = ec.generate_private_key(ec.SECP256R1())
        secret = serialization.BestAvailableEncryption(b"word")
        content = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    if content is not None:
        file.write_bytes(content)
    server = serve(echo, own)
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


def test_a_body_that_drips_through_tls_ends_with_the_deadline(serve, own, trusting):
    def script(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.drip(b"x")

    reply = get(serve(script, own).url, SHORT, tls=trusting)
    assert (reply.status, reply.truncated) == (200, True)


def test_a_body_longer_than_any_buffer_arrives_whole(serve, own, trusting):
    digests = []

    def script(peer):
        digests.append(sha256(peer.request().split(b"\r\n\r\n", 1)[1]).digest())
        peer.send(OK)

    body = random.Random(1).randbytes(20_000_000)
    with closing(Transport()) as transport:
        for server in (serve(script, own), serve(script)):
            assert transport.send("POST", server.url, headers={}, body=body, deadline=LONG, tls=trusting).status == 200
    assert digests == [sha256(body).digest()] * 2


def test_a_server_that_does_not_read_through_tls_is_a_timeout(serve, own, trusting):
    server = serve(lambda peer: peer.hang(), own)
    with closing(Transport()) as transport, pytest.raises(Unreachable) as caught:
        transport.send("POST", server.url, headers={}, body=bytes(20_000_000), deadline=SHORT, tls=trusting)
    assert caught.value.kind is UnreachableKind.TIMEOUT
