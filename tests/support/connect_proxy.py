"""A proxy that opens tunnels by CONNECT, on a free port of loopback."""

import base64
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _TunnelHandler(BaseHTTPRequestHandler):
    server: "ConnectProxy"

    def do_CONNECT(self) -> None:
        self.server.targets.append(self.path)
        if self.server.login not in (None, self.headers["Proxy-Authorization"]):
            self.send_error(407)
        elif self.server.refusal:
            self.send_error(self.server.refusal)
        else:
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((self.server.hosts.get(host, host), int(port))) as target:
                self.send_response(200, "Connection established")
                self.end_headers()
                self._forward(target)

    def _forward(self, target: socket.socket) -> None:
        peers = {self.connection: target, target: self.connection}
        with suppress(OSError):
            while not self.server.closing.is_set():
                for sock in select.select([*peers], [], [], 0.02)[0]:
                    data = sock.recv(65_536)
                    if not data:
                        return
                    peers[sock].sendall(data)

    def log_message(self, *args: object) -> None:
        """Does nothing: pytest's output is for failures."""


class ConnectProxy(ThreadingHTTPServer):
    """targets: what it was asked for. hosts: addresses of names that only it can resolve. refusal: its only answer."""

    def __init__(self, login: str | None, refusal: int | None) -> None:
        super().__init__(("127.0.0.1", 0), _TunnelHandler)
        self.address = f"127.0.0.1:{self.server_port}"
        self.login = login and "Basic " + base64.b64encode(login.encode()).decode()
        self.refusal = refusal
        self.targets: list[str] = []
        self.hosts = {"cph.example": "127.0.0.1", "iam.example": "127.0.0.1"}
        self.closing = threading.Event()


@contextmanager
def connect_proxy(login: str | None = None, refusal: int | None = None) -> Iterator[ConnectProxy]:
    """login: `user:password` that it asks for."""
    with ConnectProxy(login, refusal) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield proxy
        proxy.closing.set()
        proxy.shutdown()
        thread.join()
