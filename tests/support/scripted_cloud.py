"""A scripted server for CPH, IAM and temporary access keys, on a real socket, and a token cache in memory."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from app.cph.iam import IamPassword
from app.transport.client import Transport
from tests.support.manual_clock import ManualClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
METADATA_PATH = "/openstack/latest/securitykey"
POD_PATH = "/pod-identity"


class CloudHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # no connection outlives its test
    server: "ScriptedCloud"

    def do_GET(self) -> None:
        self._answer(self.server.keys if self.path == METADATA_PATH else self.server.cph)

    def do_POST(self) -> None:
        self._answer(self.server.keys if self.path == POD_PATH else self.server.iam)

    def do_PUT(self) -> None:
        self._answer(self.server.metadata_tokens)

    def _answer(self, answer: "Answer") -> None:
        self.received = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.calls.append(Call(self.path, dict(self.headers), self.received))
        try:
            answer(self)
        except OSError:  # the client has disconnected
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Does nothing: pytest's output is for failures."""


Answer = Callable[[CloudHandler], None]


@dataclass(frozen=True)
class Call:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str | None:
        return self.headers.get("X-Auth-Token")


def says(status: int, payload: Any = None, headers: dict[str, str] | None = None) -> Answer:
    """An answer. payload: bytes are sent as they are, anything else as JSON."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()

    def answer(handler: CloudHandler) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def gives_token(value: str, expires_at: datetime = NOW + DAY) -> Answer:
    about = {"token": {"expires_at": expires_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "methods": ["password"]}}
    return says(201, about, {"X-Subject-Token": value})


def gives_key(name: str, expires_at: datetime = NOW + DAY) -> Answer:
    """The key's parts are `<name>-access`, `<name>-secret` and `<name>-token`."""
    parts = {"access": f"{name}-access", "secret": f"{name}-secret", "securitytoken": f"{name}-token"}
    return says(200, {"credential": {**parts, "expires_at": expires_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}})


def in_turn(*answers: Answer) -> Answer:
    """Gives each answer once, and then repeats the last one."""
    remaining = list(answers)

    def answer(handler: CloudHandler) -> None:
        next_answer = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        next_answer(handler)

    return answer


def for_token(good: str, answer: Answer) -> Answer:
    """Gives this answer to requests with the token, and 401 to all others."""
    refusal = says(401, {"error_code": "APIGW.0307", "error_msg": "The token must be updated."})
    return lambda handler: (answer if handler.headers["X-Auth-Token"] == good else refusal)(handler)


def cut_short(handler: CloudHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"job_id": "j", "status": 2}')
    handler.close_connection = True


def endless(handler: CloudHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 4096)


def dripping(handler: CloudHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.closing.wait(0.01):
        handler.wfile.write(b" ")


# Answers that are never complete.
ENDLESS = (cut_short, endless, dripping)


class ScriptedCloud(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CloudHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.cph: Answer = says(500)
        self.iam: Answer = says(500)
        self.keys: Answer = says(500)
        self.metadata_tokens: Answer = says(404)
        self.calls: list[Call] = []
        self.closing = threading.Event()

    @property
    def logins(self) -> list[Call]:
        return [call for call in self.calls if call.path.startswith("/v3/auth/tokens")]

    @property
    def issues(self) -> list[Call]:
        return [call for call in self.calls if call.path in (METADATA_PATH, POD_PATH)]

    @property
    def questions(self) -> list[Call]:
        return [call for call in self.calls if call not in self.logins]


@contextmanager
def running_cloud() -> Iterator[ScriptedCloud]:
    with ScriptedCloud() as cloud:
        thread = threading.Thread(target=cloud.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield cloud
        cloud.closing.set()
        cloud.shutdown()
        thread.join()


class MemoryCache:
    """Stores bytes, as Redis does. One thread at a time holds `lock`."""

    def __init__(self) -> None:
        self.dumped: bytes | None = None
        self.life: timedelta | None = None
        self.loads = 0
        self.lock_wanted = threading.Semaphore(0)
        self._lock = threading.Lock()

    def load(self) -> bytes | None:
        self.loads += 1
        return self.dumped

    def save(self, dumped: bytes, life: timedelta) -> None:
        self.dumped = dumped
        self.life = life

    def lock(self) -> threading.Lock:
        self.lock_wanted.release()
        return self._lock


def iam_password(
    cloud: ScriptedCloud, transport: Transport, cache: MemoryCache, clock: ManualClock, **changes: Any
) -> IamPassword:
    settings: dict[str, Any] = {"deadline": timedelta(seconds=5), "password": "Pass-word-1"} | changes
    return IamPassword(
        transport=transport,
        endpoint=cloud.url,
        user="watcher",
        domain="acme",
        project_id="p" * 32,
        cache=cache,
        clock=clock,
        **settings,
    )
