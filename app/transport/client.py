"""Calls over `requests` with one adapter and no session: no redirects, cookies, netrc or proxies."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPException
from time import monotonic
from typing import Any, cast

from requests import PreparedRequest, RequestException
from requests.exceptions import InvalidURL
from requests.structures import CaseInsensitiveDict
from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from app.domain.grant import TlsFiles
from app.transport.adapter import Adapter
from app.transport.answer import HttpAnswer
from app.transport.sockets import Connect, Exchange, connect_anywhere, current
from app.transport.stopwatch import Stopwatch
from app.transport.unreachable import Unreachable, UnreachableKind, explain, root_cause

HEADERS_BYTES = 256 * 1024
CHUNK_BYTES = 64 * 1024
UNLIMITED = 2**63
REQUEST_TIMEOUT = 408
IN_TRANSIT_S = 1.0
UNTIMED: Any = Timeout()  # the socket enforces the deadline; shared, because requests would create one per call
PUBLIC = TlsFiles()  # trusts the public certificate authorities


@dataclass(frozen=True, slots=True)
class Reply:
    """A response. `headers`: by lower-case name. `truncated`: the body is incomplete."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool


@dataclass(frozen=True, slots=True)
class StreamReply:
    """chunks: of the body, as they arrive. Iterating raises Unreachable on an idle timeout or a broken connection."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]


class Transport:
    """Thread-safe. Keeps connections alive, at most `connections` per host.

    connect, tls: for calls that have none of their own.
    """

    def __init__(self, *, connections: int = 64, connect: Connect = connect_anywhere, tls: TlsFiles = PUBLIC) -> None:
        self._connect = connect
        self._tls = tls
        # urllib3 logs whole URLs, which may contain credentials.
        logging.getLogger("urllib3").setLevel(logging.CRITICAL)
        self._adapter = Adapter(connections)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        deadline: timedelta,
        max_bytes: int = 64 * 1024,
        connect: Connect | None = None,
        tls: TlsFiles | None = None,
        stopwatch: Stopwatch | None = None,
        tenant: str = "",
    ) -> Reply:
        """Makes one call. Raises Unreachable, any error of `connect`, or ValueError for a malformed URL or header.

        stopwatch: records timings, also of a failed call; the deadline counts from its start.
        tenant: on whose behalf; see Lookups.
        """
        stopwatch = stopwatch or Stopwatch()
        stopwatch.sent = stopwatch.first_byte = None  # of an earlier call of the same attempt
        request = _prepared(method, url, headers, body)
        call = Exchange(
            until=stopwatch.began + deadline.total_seconds(),
            budget=HEADERS_BYTES + max_bytes,
            connect=connect or self._connect,
            tls=tls or self._tls,
            stopwatch=stopwatch,
            max_bytes=max_bytes,
            tenant=tenant,
        )
        try:
            reply = self._exchange(request, call, deadline)
            if call.connected or not _answers_idleness(reply, call.stopwatch):
                return reply
        except Unreachable as error:
            if not (call.stale and error.kind is UnreachableKind.CLOSED):
                raise
        # The peer closed a kept-alive connection while the request was in transit, which is not a failure: retry once.
        call.fresh = True
        call.received = 0
        return self._exchange(request, call, deadline)

    @contextmanager
    def stream(
        self, url: str, *, headers: Mapping[str, str], idle_timeout: timedelta, tls: TlsFiles = PUBLIC
    ) -> Iterator[StreamReply]:
        """Opens a GET whose answer may be endless. Raises as `send` does.

        idle_timeout: the longest time without a received byte.
        """
        until = monotonic() + idle_timeout.total_seconds()
        call = Exchange(until, UNLIMITED, connect_anywhere, tls, fresh=True, max_bytes=None)
        answer = self._answer(_prepared("GET", url, headers, None), call, idle_timeout)
        try:
            yield StreamReply(answer.status, answer.headers, _chunks(answer, call, idle_timeout))
        finally:
            answer.close_all()

    def close(self) -> None:
        self._adapter.close()

    def _exchange(self, request: PreparedRequest, call: Exchange, deadline: timedelta) -> Reply:
        answer = self._answer(request, call, deadline)
        return Reply(answer.status, answer.headers, answer.body, answer.truncated)

    def _answer(self, request: PreparedRequest, call: Exchange, deadline: timedelta) -> HttpAnswer:
        """Sends the request. The answer's body is read up to `call.max_bytes`, or not at all if that is None."""
        current.call = call
        try:
            return cast("HttpAnswer", self._adapter.send(request, timeout=UNTIMED).raw)
        except InvalidURL:
            raise
        except (RequestException, HTTPError) as error:
            cause = root_cause(error)
            raise explain(cause, deadline) from cause


def _answers_idleness(reply: Reply, stopwatch: Stopwatch) -> bool:
    """Returns whether a kept-alive connection had been idle for too long when the request was already in transit.

    The peer then closes the connection, and has answered before it could have waited for the rest of this request.
    """
    closes = "close" in reply.headers.get("connection", "").lower()
    if reply.status != REQUEST_TIMEOUT or not closes or stopwatch.sent is None or stopwatch.first_byte is None:
        return False
    return stopwatch.first_byte - stopwatch.sent < IN_TRANSIT_S


def _prepared(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> PreparedRequest:
    """Sets each field directly, because requests' prepare() repairs URLs: backslashes, spaces, line ends."""
    request = PreparedRequest()
    request.method = method
    request.url = url
    length = {} if body is None else {"Content-Length": str(len(body))}
    # A plain dictionary: CaseInsensitiveDict is slow.
    request.headers = cast("CaseInsensitiveDict[str]", {**headers, **length})
    request.body = body
    return request


def _chunks(answer: HttpAnswer, call: Exchange, idle_timeout: timedelta) -> Iterator[bytes]:
    try:
        while True:
            current.call = call  # the thread may have made other calls between chunks
            call.until = monotonic() + idle_timeout.total_seconds()
            chunk = answer.read1(CHUNK_BYTES)
            if not chunk:
                return
            yield chunk
    except (OSError, HTTPException) as error:
        cause = root_cause(error)
        raise explain(cause, idle_timeout) from cause
