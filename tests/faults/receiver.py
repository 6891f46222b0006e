"""A subscriber's server: keeps every callback that it gets, and answers as the fault wants."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, Self

from tests.faults.answers import HOST, Answer, HttpServer, Request

Behaviour = Callable[[Request], Answer]


@dataclass(frozen=True, slots=True)
class ReceivedCallback:
    """at: when its first line was read (monotonic, s). accepted: whether it was answered with success."""

    at: float
    path: str
    id: str
    timestamp: str
    signature: str
    body: bytes
    accepted: bool

    @property
    def event(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @classmethod
    def signed(cls, event: dict[str, Any], secret: str, *, at: float, path: str, accepted: bool = True) -> Self:
        """A callback as a bridge would send it, for tests of the judge."""
        body = json.dumps(event).encode()
        return cls(at, path, event["id"], "1", sign(secret, event["id"], "1", body), body, accepted)

    def is_signed_with(self, secret: str) -> bool:
        wanted = sign(secret, self.id, self.timestamp, self.body)
        return any(hmac.compare_digest(wanted, given) for given in self.signature.split())


def sign(secret: str, id: str, timestamp: str, body: bytes) -> str:
    """Standard Webhooks: HMAC-SHA256 over id, timestamp and body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.digest(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256)).decode()


def accept(_: Request) -> Answer:
    return Answer(204)


class CallbackReceiver:
    def __init__(self, behave: Behaviour = accept, host: str = HOST) -> None:
        self.behave = behave
        self._lock = Lock()
        self._callbacks: list[ReceivedCallback] = []
        self.server = HttpServer(self._answer, host)

    @property
    def url(self) -> str:
        return self.server.url

    def callbacks(self) -> list[ReceivedCallback]:
        with self._lock:
            return list(self._callbacks)

    def _answer(self, request: Request) -> Answer:
        answer = self.behave(request)
        headers = request.headers
        callback = ReceivedCallback(
            at=request.began,
            path=request.path,
            id=headers.get("webhook-id", ""),
            timestamp=headers.get("webhook-timestamp", ""),
            signature=headers.get("webhook-signature", ""),
            body=request.body,
            accepted=200 <= answer.status < 300 and not (answer.silent or answer.reset or answer.raw is not None),
        )
        with self._lock:
            self._callbacks.append(callback)
        return answer


def alternating(period_s: float, one: Behaviour, other: Behaviour) -> Behaviour:
    """Behaves like `one` and like `other` in turns of period_s."""
    return one if int(time.monotonic() / period_s) % 2 else other


def answering(**fields: Any) -> Behaviour:
    return lambda _: Answer(**fields)
