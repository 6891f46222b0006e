"""An HTTP proxy: opens connections by CONNECT."""

import base64
import re
import socket
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPException, HTTPResponse
from typing import Self
from urllib.parse import unquote, urlsplit

from app.transport.sockets import Exchange, connect_anywhere
from app.transport.unreachable import Unreachable, UnreachableKind, explain

DEFAULT_PORT = 80
HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
REFUSALS = {407: "asks for a user and password, or refuses those given", 403: "does not allow this host and port"}


@dataclass(frozen=True, slots=True)
class HttpProxy:
    """A Connect. authorization: value of the header, which holds the password."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises ValueError, whose message has no part of the URL."""
        scheme = url.partition("://")[0].lower() if "://" in url else ""
        if scheme in ("https", "socks", "socks4", "socks4a", "socks5", "socks5h"):
            raise ValueError(f"a proxy by {scheme} is not supported: name an HTTP proxy, http://host:port")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", DEFAULT_PORT if parts.port is None else parts.port
        except ValueError:
            host, port = "", 0
        if scheme != "http" or not HOST.fullmatch(host) or not port or parts.path not in ("", "/"):
            raise ValueError("must be http://host:port, or http://user:password@host:port with / : @ ? # % as %xx")
        if parts.query or parts.fragment:
            raise ValueError("must end behind the port")
        if parts.username is None:
            return cls(host, port)
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return cls(host, port, "Basic " + base64.b64encode(login.encode()).decode())

    @property
    def address(self) -> str:
        return _authority(self.host, self.port)

    def __call__(self, scheme: str, host: str, port: int, call: Exchange) -> socket.socket:  # noqa: ARG002
        """Opens a tunnel, for http too. A failure is told as the proxy's."""
        try:
            sock = connect_anywhere("http", self.host, self.port, call)
        except OSError as error:
            raise self._failed(error, call) from error
        try:
            status = self._open_tunnel(sock, _authority(host, port), call)
        except (OSError, HTTPException) as error:
            sock.close()
            raise self._failed(error, call) from error
        if not 200 <= status < 300:
            sock.close()
            why = REFUSALS.get(status, "opens no connection to this host")
            raise Unreachable(UnreachableKind.CONNECT, f"proxy {self.address}: HTTP {status}: it {why}")
        return sock

    def _open_tunnel(self, sock: socket.socket, target: str, call: Exchange) -> int:
        """Returns the status of the proxy's answer."""
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self.authorization:
            lines.append(f"Proxy-Authorization: {self.authorization}")
        sock.settimeout(call.left())
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
        # It buffers, but a server sends nothing before our request, or before our part of the TLS handshake.
        answer = HTTPResponse(sock, method="CONNECT")
        try:
            answer.begin()
            return answer.status
        finally:
            answer.close()

    def _failed(self, error: BaseException, call: Exchange) -> Unreachable:
        failure = explain(error, timedelta(seconds=round(call.until - call.stopwatch.began, 1)))
        return Unreachable(failure.kind, f"proxy {self.address}: {failure}")


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
