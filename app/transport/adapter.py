"""urllib3's seam: connections that our own `connect` opens, and requests' adapter reduced to what a call needs."""

# The signatures are requests' own.
# ruff: noqa: ARG002

import http.client
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from math import inf
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

HOSTS = 256  # with connections kept alive; beyond, the host that was called longest ago loses its own
SURELY_ALIVE_S = 1.0
NAME, VALUE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"), re.compile(r"[^\r\n\0]*")  # RFC 9110, 5


class _PlainConnection(HTTPConnection):
    scheme = "http"
    response_class = HttpAnswer

    def __init__(self, host: str, port: int | None = None, *, connect: Connect, **options: Any) -> None:
        super().__init__(host, port, **options)
        self._connect = connect
        self._body = b""
        self._used_at = -inf

    def _new_conn(self) -> socket.socket:
        call = current.call
        call.connected = True
        call.watch.open()
        try:
            opened = self._connect(self.scheme, self._dns_host, self.port, call)
            sock = PlainSocket(fileno=opened.detach())
            sock.settimeout(call.left())  # the TLS handshake goes by it
        except OSError as error:
            raise NewConnectionError(self, "") from error
        return sock

    def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes, most: int | None) -> HttpAnswer:
        """A request, and its answer with at most so many bytes of its body. Closed if another cannot follow.

        most: None leaves the body unread; the connection then ends with the answer, and another cannot follow either.
        """
        if self.is_closed:
            self.connect()
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before it read everything
            self._write(method, url, headers, body)
        answer: HttpAnswer = http.client.HTTPConnection.getresponse(self)  # type: ignore[assignment] # see response_class
        if most is None:
            answer.ends_with_it(self)
            return answer
        answer.read_at_most(most)
        if answer.truncated:
            self.close()
        return answer

    def _write(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
        if not all(NAME.fullmatch(name) and VALUE.fullmatch(value) for name, value in headers.items()):
            raise ValueError("a header is malformed")  # without its value, which may be a credential
        self._used_at = monotonic()
        self._body = body
        self.putrequest(method, url, skip_host=any(name.lower() == "host" for name in headers))
        if headers:
            # All at once: http.client's putheader would take a third of the time that the whole call does.
            lines = [f"{name}: {value}" for name, value in headers.items()]
            self._output("\r\n".join(lines).encode("latin-1"))  # type: ignore[attr-defined]
        self.endheaders()

    def send(self, data: Any) -> None:
        # Sent by itself, the body would cost a second system call and a second packet: a sixth of the whole call.
        super().send(data + self._body)
        current.call.watch.sent = monotonic()

    @property
    def is_connected(self) -> bool:
        """Looking costs a system call: a connection in use a moment ago is taken for alive, and if it is not, the
        call is made once more on a fresh one."""
        if current.call.fresh:
            return False
        return monotonic() - self._used_at < SURELY_ALIVE_S or super().is_connected


class _TLSConnection(_PlainConnection, HTTPSConnection):
    scheme = "https"

    def connect(self) -> None:
        super().connect()
        current.call.watch.secured = monotonic()


class _Lean(HTTPConnectionPool):
    """Of a pool's own way to call there is nothing left to do: no retries, redirects, proxies; time is the socket's."""

    def urlopen(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> Any:  # type: ignore[override]
        connection: Any = self._get_conn()
        most = current.call.max_bytes
        try:
            return connection.exchange(method, url, headers, body or b"", most)
        except HTTPException as error:
            connection.close()
            raise ProtocolError from error
        except BaseException:
            connection.close()
            raise
        finally:
            self._put_conn(None if most is None else connection)


class _PlainPool(_Lean):
    ConnectionCls = _PlainConnection


class _TLSPool(_Lean, HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class Adapter(HTTPAdapter):
    """Without what a session needs and a call does not: the environment, proxies, cookies, repairs to the URL."""

    def __init__(self, connections: int) -> None:
        super().__init__(pool_connections=HOSTS, pool_maxsize=connections)
        # Replaced, not changed: the dictionary that is there belongs to every pool manager in the process.
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TLSPool}
        # urllib3's own keys take 20 μs a call to tell apart what is all the same here: timeouts, proxies.
        self.poolmanager.key_fn_by_scheme = {
            "http": itemgetter("scheme", "host", "port", "connect"),
            "https": itemgetter("scheme", "host", "port", "connect", "ssl_context"),
        }

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> HTTPConnectionPool:
        parts = urlsplit(str(request.url))
        way: dict[str, Any] = {"connect": current.call.connect}
        if parts.scheme == "https":
            way["ssl_context"] = tls.context(current.call.tls)
        pool: HTTPConnectionPool = self.poolmanager.connection_from_host(
            parts.hostname, parts.port, parts.scheme, pool_kwargs=way
        )
        return pool

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The pool's TLS context says it all."""

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        parts = urlsplit(str(request.url))
        return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"

    def build_response(self, req: PreparedRequest, resp: Any) -> Response:
        response = Response.__new__(Response)  # its __init__ makes a jar for cookies
        response.raw = resp
        return response
