"""Serves small pages on a separate port and threads, so that slow clients of the API cannot starve them."""

import logging
import re
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from app import logs
from app.domain.errors import Unavailable

# A request may name the whole URL (RFC 9112, 3.2.2).
ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
METHODS = "GET, HEAD"


@dataclass(frozen=True, slots=True)
class Page:
    status: int
    body: bytes = b""
    content_type: str = "text/plain"


Pages = Mapping[str, Callable[[], Page]]  # by path

NOT_FOUND = Page(404, b"Not Found\n")


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

    def page(self, target: str) -> Page:
        path = ORIGIN.sub("", target, count=1).partition("?")[0]
        return self._pages.get(path, lambda: NOT_FOUND)()

    def handle_error(self, *_: object) -> None:
        """The client has gone (OSError), or a page has a bug: socketserver would print a traceback to the JSON log."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            logs.event("probe.failed", level=logging.ERROR, error=type(error).__qualname__)


class _Handler(BaseHTTPRequestHandler):
    server: ProbeServer
    timeout = 5  # seconds for a client to send its request

    def do_GET(self) -> None:
        self._answer(self.server.page(self.path))

    def do_HEAD(self) -> None:
        self.do_GET()

    def send_error(self, code: int, *_: Any) -> None:
        """Answers what http.server refuses: in plain text, and a method other than GET and HEAD as not allowed."""
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        headers = {"Allow": METHODS} if status is HTTPStatus.METHOD_NOT_ALLOWED else {}
        self.request_version = self.protocol_version  # http.server would send a client of unknown version no head
        self._answer(Page(status, f"{status.phrase}\n".encode()), headers)

    def _answer(self, page: Page, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(page.status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def log_message(self, *_: object) -> None:
        """Logs nothing: probes come every few seconds."""
