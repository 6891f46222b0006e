"""The transport over TLS, with a certificate of the test's own."""

import ipaddress
import ssl
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.transport.client import Transport
from app.transport.unreachable import Kind, Unreachable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SHORT = timedelta(seconds=0.4)
LONG = timedelta(seconds=8)


def certificate(path, name):
    """A self-signed one, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(pem + signed.public_bytes(serialization.Encoding.PEM))
    return str(path)


@pytest.fixture
def pem(tmp_path):
    return certificate(tmp_path / "own.pem", x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


def context(pem):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def echo(peer):
    while request := peer.request():
        body = request.split(b"\r\n\r\n", 1)[1]
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def failure(url, **options):
    with closing(Transport(**options)) as transport, pytest.raises(Unreachable) as caught:
        transport.send("GET", url, headers={}, deadline=SHORT)
    return caught.value


def test_a_trusted_certificate_is_accepted_and_the_connection_kept(serve, pem):
    server = serve(echo, context(pem))
    with closing(Transport(ca_bundle=pem)) as transport:
        for size in (2, 200_000):
            reply = transport.send("POST", server.url, headers={}, body=b"x" * size, deadline=LONG, max_bytes=200_000)
            assert reply.body == b"x" * size
    assert server.connections == 1


def test_a_certificate_that_nobody_vouches_for_is_refused(serve, pem):
    error = failure(serve(echo, context(pem)).url)
    assert (error.kind, str(error)) == (Kind.TLS, "TLS: certificate refused: self-signed certificate")


def test_a_certificate_for_another_name_is_refused(serve, tmp_path):
    other = certificate(tmp_path / "other.pem", x509.DNSName("bot.example"))
    error = failure(serve(echo, context(other)).url, ca_bundle=other)
    assert error.kind is Kind.TLS
    assert "mismatch" in str(error)


def test_a_server_that_does_not_speak_tls_is_a_tls_error(serve):
    server = serve(lambda peer: peer.send(b"HTTP/1.1 400 No\r\n\r\n"))
    error = failure(server.url.replace("http:", "https:"))
    assert (error.kind, str(error)) == (Kind.TLS, "TLS: wrong version number")


def test_a_handshake_that_never_ends_is_a_timeout(serve):
    server = serve(lambda peer: peer.hang())
    assert failure(server.url.replace("http:", "https:")).kind is Kind.TIMEOUT


def test_a_server_that_hangs_up_in_the_handshake_has_closed(serve):
    server = serve(lambda peer: peer.sock.recv(1))
    assert failure(server.url.replace("http:", "https:")).kind is Kind.CLOSED


def test_a_body_that_drips_through_tls_ends_with_the_deadline(serve, pem):
    def script(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.drip(b"x")

    with closing(Transport(ca_bundle=pem)) as transport:
        reply = transport.send("GET", serve(script, context(pem)).url, headers={}, deadline=SHORT)
    assert (reply.status, reply.truncated) == (200, True)
