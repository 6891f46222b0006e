"""Serves small pages on a separate port and threads, so that slow clients of the API cannot starve them."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from app.domain.errors import OperatorError, Unavailable

MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Page:
    status: int
    body: bytes = b""
    content_type: str = "text/plain"


Pages = Mapping[str, Callable[[], Page]]  # by path

NOT_FOUND = Page(404)


def listen(setting: str, bind: str) -> socket.socket:
    """Opens a listening socket. Call it before forking: the kernel then distributes connections among the processes.

    bind: host:port. setting: its name, for the OperatorError.
    """
    host, _, port = bind.rpartition(":")
    if not host or not port.isdecimal() or int(port) > MAX_PORT:
        raise OperatorError(f"{setting}: {bind!r} is not host:port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), int(port)), family=family)
    except OSError as error:
        raise OperatorError(f"{setting}: cannot listen on {bind}: {error}") from error
    # One connection may wake several processes. Those that do not get it must not block until the next one.
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def probes(check: Callable[[], object]) -> Pages:
    """Returns `/healthz` and `/readyz`, whose body says what is missing.

    check: raises Unavailable while the process is not ready. Its message names addresses only after a colon.
    """

    def ready() -> Page:
        try:
            check()
        except Unavailable as error:
            return Page(503, f"{str(error).partition(':')[0]}\n".encode())
        return Page(200)

    return {"/healthz": lambda: Page(200), "/readyz": ready}


class ProbeServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, pages: Pages) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self._pages = pages

    def start(self) -> None:
        Thread(target=self.serve_forever, name="probe server", daemon=True).start()

    def page(self, path: str) -> Page:
        return self._pages.get(path.partition("?")[0], lambda: NOT_FOUND)()


class _Handler(BaseHTTPRequestHandler):
    server: ProbeServer
    timeout = 5  # seconds for a client to send its request

    def do_GET(self) -> None:
        page = self.server.page(self.path)
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        self.wfile.write(page.body)

    def log_message(self, *_: object) -> None:
        """Logs nothing: probes come every few seconds."""
