"""A subscriber for tests: it records callbacks, answers as scripted, and can delay answers."""

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks import Webhook

from app.devkit.processes import PATIENCE_S, wait_until


@dataclass(frozen=True)
class Callback:
    path: str
    headers: dict[str, str]
    body: bytes
    received_at: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    def verified_by(self, secret: str) -> bool:
        """True if the signature matches the secret. Raises otherwise."""
        Webhook(secret).verify(self.body.decode(), self.headers)
        return True


class Receiver:
    """statuses: the next answers, in order; after them 200. gate: no answer while it is not set.

    echoes: answers repeat the request, as careless servers do. answer_body: the body of all other answers.
    options: the answer to OPTIONS requests. asked: the headers of OPTIONS requests.
    """

    def __init__(self) -> None:
        self.callbacks: list[Callback] = []
        self.statuses: list[tuple[int, dict[str, str]]] = []
        self.echoes = False
        self.answer_body = b""
        self.options: tuple[int, dict[str, str]] = (405, {})
        self.asked: list[dict[str, str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()
        self._server = _ReceiverServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hooks/s3cret-path"

    def ids(self) -> Counter[str]:
        """How often each event arrived, by event id."""
        return Counter(callback.id for callback in list(self.callbacks))

    def one_event_each(self) -> bool:
        """Whether all callbacks of a registration have the same event id and the same bytes."""
        callbacks = list(self.callbacks)
        bodies = {(callback.event["data"]["registration_id"], callback.body) for callback in callbacks}
        return len(bodies) == len({callback.id for callback in callbacks}) == len({id for id, _ in bodies})

    def wait_for(self, count: int, timeout: float = PATIENCE_S) -> None:
        """Waits until `count` different events have arrived."""
        wait_until(lambda: len(self.ids()) >= count, timeout=timeout, what=f"{count} events at the receiver")

    def answer_to(self, callback: Callback) -> tuple[int, dict[str, str], bytes]:
        with self._lock:
            self.callbacks.append(callback)
            answer = self.statuses.pop(0) if self.statuses else (200, {})
        self.gate.wait()
        return *answer, f"{callback.path} {json.dumps(callback.headers)}".encode() if self.echoes else self.answer_body

    def fail(self, status: int = 500) -> None:
        """Answers all callbacks with this status until `heal`."""
        self.statuses = [(status, {})] * 100_000

    def heal(self) -> None:
        self.statuses = []

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _ReceiverServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # clients keep their connections alive for longer than a test lasts
    request_queue_size = 128


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class ReceiverHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more_headers, answer_body = receiver.answer_to(Callback(self.path, headers, body))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer_body)), **more_headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer_body)

        def do_OPTIONS(self) -> None:
            receiver.asked.append({name.lower(): value for name, value in self.headers.items()})
            status, headers = receiver.options
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Does nothing: pytest's output is for failures."""

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                self.close_connection = True  # the sender was killed

    return ReceiverHandler
