"""An HTTP server whose answers may misbehave in every way: for subscribers and for CPH."""

import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, Self

HOST = "127.0.0.1"
HOLD_S = 120.0  # how long a silent server holds a connection at most
LINGER_NONE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Request:
    """began: when its first line had been read (monotonic, s)."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    began: float


@dataclass(frozen=True, slots=True)
class Answer:
    """wait_s: before the first byte. drip_s: after each byte of the body. cut: closes after so many bytes of the body.

    silent: never answers. reset: resets the connection. raw: is sent as it is, and the connection closed. endless: the
    body never ends. close: closes a connection that could be kept alive.
    """

    status: int = 204
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    drip_s: float = 0.0
    cut: int | None = None
    silent: bool = False
    reset: bool = False
    raw: bytes | None = None
    endless: bool = False
    close: bool = False


Decide = Callable[[Request], Answer]


class HttpServer:
    """Listens on loopback, on a port that stays the same when it goes down and comes back."""

    def __init__(self, decide: Decide, host: str = HOST) -> None:
        self._decide, self._host = decide, host
        self._server: _Server | None = None
        self._released = Event()
        self.port = 0
        self.up()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def up(self) -> None:
        if self._server is None:
            self._released.clear()
            self._server = _Server((self._host, self.port), _handler(self._decide, self._released))
            self.port = self._server.server_address[1]
            Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()

    def down(self) -> None:
        """Refuses connections, and closes those that are open."""
        server, self._server = self._server, None
        if server:
            self._released.set()
            server.shutdown()
            server.server_close()
            server.drop_connections()

    def drop_connections(self) -> None:
        if self._server:
            self._server.drop_connections()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, *arguments: Any) -> None:
        self._lock = Lock()
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers that hang up are part of the faults."""


class _AnswerHandler(BaseHTTPRequestHandler):
    """decide, released: set by `_handler`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    decide: Decide
    released: Event
    began = 0.0

    def parse_request(self) -> bool:
        self.began = time.monotonic()
        return super().parse_request()

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = type(self).decide(Request(self.command, self.path, headers, body, self.began))
        self.released.wait(HOLD_S if answer.silent else answer.wait_s)
        if answer.silent or answer.reset or answer.raw is not None:
            self._break_off(answer)
        else:
            self._send(answer)

    do_GET = do_POST = do_OPTIONS = do_PUT = answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass

    def _break_off(self, answer: Answer) -> None:
        self.close_connection = True
        if answer.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        self.wfile.write(answer.raw or b"")

    def _send(self, answer: Answer) -> None:
        self.close_connection = self.close_connection or answer.close or answer.endless or answer.cut is not None
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if not answer.endless and answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        for part in _parts(answer):
            self.wfile.write(part)
            if answer.drip_s and self.released.wait(answer.drip_s):
                return


def _handler(decide: Decide, released: Event) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_AnswerHandler,), {"decide": staticmethod(decide), "released": released})


def _parts(answer: Answer) -> Iterator[bytes]:
    body = answer.body if answer.cut is None else answer.body[: answer.cut]
    if answer.endless:
        while True:
            yield body or b" " * 4096
    elif answer.drip_s:
        yield from (body[index : index + 1] for index in range(len(body)))
    elif body:
        yield body
