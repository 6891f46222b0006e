"""Adapts requests and urllib3: connections are opened by our own `connect`, and unneeded steps are left out."""

# requests defines these signatures.
# ruff: noqa: ARG002

import http.client
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from operator import itemgetter
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError, ProtocolError

from app.transport import tls
from app.transport.answer import HttpAnswer
from app.transport.sockets import Connect, PlainSocket, current

MAX_HOSTS = 256  # with kept-alive connections; beyond it, those of the least recently called host are closed
NAME, VALUE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"), re.compile(r"[^\r\n\0]*")  # RFC 9110, 5


class _PlainConnection(HTTPConnection):
    scheme = "http"
    response_class = HttpAnswer

    def __init__(self, host: str, port: int | None = None, *, connect: Connect, **options: Any) -> None:
        super().__init__(host, port, **options)
        self._connect = connect
        self._body = b""

    def _new_conn(self) -> socket.socket:
        call = current.call
        call.connected = True
        call.stopwatch.open()
        try:
            opened = self._connect(self.scheme, self._dns_host, self.port, call)
            sock = PlainSocket(fileno=opened.detach())
            sock.settimeout(call.left())  # also limits the TLS handshake
        except OSError as error:
            raise NewConnectionError(self, "") from error
        return sock

    def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, max_bytes: int | None
    ) -> HttpAnswer:
        """Sends a request and reads the answer. Closes the connection if it cannot be reused.

        max_bytes: how much of the body to read; None leaves the body unread, and the connection is not reused.
        """
        if self.is_closed:
            self.connect()
        with suppress(BrokenPipeError, ConnectionResetError):  # the peer may have answered before reading everything
            self._write(method, url, headers, body)
        answer: HttpAnswer = http.client.HTTPConnection.getresponse(self)  # type: ignore[assignment] # see response_class
        if max_bytes is None:
            answer.own_connection(self)
            return answer
        answer.read_body(max_bytes)
        if answer.truncated:
            self.close()
        return answer

    def _write(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
        if not all(NAME.fullmatch(name) and VALUE.fullmatch(value) for name, value in headers.items()):
            raise ValueError("a header is malformed")  # omits the value, which may be a credential
        self._body = body
        self.putrequest(method, url, skip_host=any(name.lower() == "host" for name in headers))
        if headers:
            # In one write: http.client's putheader takes a third of the time of the whole call.
            lines = [f"{name}: {value}" for name, value in headers.items()]
            self._output("\r\n".join(lines).encode("latin-1"))  # type: ignore[attr-defined]
        self.endheaders()

    def send(self, data: Any) -> None:
        # Sending the body separately costs a second system call and packet: a sixth of the time of the whole call.
        super().send(data + self._body)
        current.call.stopwatch.sent = monotonic()

    @property
    def is_connected(self) -> bool:
        """Whether the connection can be used for the current call.

        Not if something can be read before the request is sent: the peer has closed the connection, or has sent an
        answer to no request, such as 408.
        """
        return not current.call.fresh and super().is_connected


class _TLSConnection(_PlainConnection, HTTPSConnection):
    scheme = "https"

    def connect(self) -> None:
        super().connect()
        current.call.stopwatch.secured = monotonic()


class _DirectPool(HTTPConnectionPool):
    """A pool without urllib3's retries, redirects, proxies and timeouts; the socket enforces the deadline."""

    def urlopen(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> Any:  # type: ignore[override]
        connection: Any = self._get_conn()
        max_bytes = current.call.max_bytes
        try:
            return connection.exchange(method, url, headers, body or b"", max_bytes)
        except HTTPException as error:
            connection.close()
            raise ProtocolError from error
        except BaseException:
            connection.close()
            raise
        finally:
            self._put_conn(None if max_bytes is None else connection)


class _PlainPool(_DirectPool):
    ConnectionCls = _PlainConnection


class _TLSPool(_DirectPool, HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class Adapter(HTTPAdapter):
    """requests' adapter without the environment, proxies, cookies and URL repairs."""

    def __init__(self, connections: int) -> None:
        super().__init__(pool_connections=MAX_HOSTS, pool_maxsize=connections)
        # Replaced, not changed: all pool managers in the process share the default dictionary.
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TLSPool}
        # urllib3's own keys cost 20 μs a call to compare timeouts and proxies, which never differ here.
        self.poolmanager.key_fn_by_scheme = {
            "http": itemgetter("scheme", "host", "port", "connect"),
            "https": itemgetter("scheme", "host", "port", "connect", "ssl_context"),
        }

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> HTTPConnectionPool:
        parts = urlsplit(str(request.url))
        pool_options: dict[str, Any] = {"connect": current.call.connect}
        if parts.scheme == "https":
            pool_options["ssl_context"] = tls.context(current.call.tls)
        pool: HTTPConnectionPool = self.poolmanager.connection_from_host(
            parts.hostname, parts.port, parts.scheme, pool_kwargs=pool_options
        )
        return pool

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Does nothing: the pool's TLS context has all settings."""

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        parts = urlsplit(str(request.url))
        return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"

    def build_response(self, req: PreparedRequest, resp: Any) -> Response:
        response = Response.__new__(Response)  # its __init__ would create a cookie jar
        response.raw = resp
        return response
