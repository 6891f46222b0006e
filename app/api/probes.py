"""`/healthz` and `/readyz` on a port and a thread of their own: slow clients of the API cannot starve them."""

import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from app.domain.errors import OperatorError, Unavailable

MAX_PORT = 65_535


def listen(bind: str) -> socket.socket:
    """bind: host:port. To be called before the workers are forked: each then answers what the kernel gives it."""
    host, _, port = bind.rpartition(":")
    if not host or not port.isdecimal() or int(port) > MAX_PORT:
        raise OperatorError(f"BRIDGE_PROBE_BIND: {bind!r} is not host:port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), int(port)), family=family)
    except OSError as error:
        raise OperatorError(f"BRIDGE_PROBE_BIND: cannot listen on {bind}: {error}") from error
    # Of several processes that wake up for one connection, those that come late must not wait for the next.
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class ProbeServer(ThreadingHTTPServer):
    """ping: raises Unavailable when Redis does not answer."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, ping: Callable[[], object]) -> None:
        super().__init__(listener.getsockname()[:2], _Probe, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self._ping = ping

    def start(self) -> None:
        Thread(target=self.serve_forever, name="probes", daemon=True).start()

    def status(self, path: str) -> int:
        match path:
            case "/healthz":
                return 200
            case "/readyz":
                return 200 if self._ready() else 503
            case _:
                return 404

    def _ready(self) -> bool:
        try:
            self._ping()
        except Unavailable:
            return False
        return True


class _Probe(BaseHTTPRequestHandler):
    server: ProbeServer
    timeout = 5  # seconds for a client to say what it wants

    def do_GET(self) -> None:
        self.send_response(self.server.status(self.path))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: probes come every few seconds."""
