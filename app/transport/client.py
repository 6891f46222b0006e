"""A lean `requests`: one adapter and no session, so no redirects, cookies, netrc or proxies."""

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
NO_END = 2**63
UNTIMED: Any = Timeout()  # time is the socket's; without one, requests would make a new one for each call
PUBLIC = TlsFiles()  # what the public authorities vouch for


@dataclass(frozen=True, slots=True)
class Reply:
    """A status line with its headers came, these by names in small letters; `truncated`: the body is not all there."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """chunks: of the body, as they come. Unreachable when there is silence for too long, or the connection breaks."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]


class Transport:
    """For use by many threads; connections are kept alive, at most `connections` for each host."""

    def __init__(self, *, connections: int = 64) -> None:
        # urllib3's own lines carry whole URLs.
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
        connect: Connect = connect_anywhere,
        tls: TlsFiles = PUBLIC,
        watch: Stopwatch | None = None,
    ) -> Reply:
        """One call. Raises Unreachable, or what `connect` raised; ValueError for a malformed URL or header.

        watch: shows where the time went, however the call ended; the deadline counts from when it began.
        """
        watch = watch or Stopwatch()
        request = _prepared(method, url, headers, body)
        until = watch.began + deadline.total_seconds()
        call = Exchange(until, HEADERS_BYTES + max_bytes, connect, tls, watch, max_bytes=max_bytes)
        try:
            return self._exchange(request, call, deadline)
        except Unreachable as error:
            if not (call.stale and error.kind is UnreachableKind.CLOSED):
                raise
        # The peer closed a kept-alive connection while the request was on its way: not a failure of the peer.
        call.fresh = True
        return self._exchange(request, call, deadline)

    @contextmanager
    def stream(
        self, url: str, *, headers: Mapping[str, str], silence: timedelta, tls: TlsFiles = PUBLIC
    ) -> Iterator[Opened]:
        """A GET whose answer need not end; silence: the longest without a byte. Raises as `send` does."""
        until = monotonic() + silence.total_seconds()
        call = Exchange(until, NO_END, connect_anywhere, tls, fresh=True, max_bytes=None)
        answer = self._answer(_prepared("GET", url, headers, None), call, silence)
        try:
            yield Opened(answer.status, answer.headers, _chunks(answer, call, silence))
        finally:
            answer.end()

    def close(self) -> None:
        self._adapter.close()

    def _exchange(self, request: PreparedRequest, call: Exchange, deadline: timedelta) -> Reply:
        answer = self._answer(request, call, deadline)
        return Reply(answer.status, answer.headers, answer.body, answer.truncated)

    def _answer(self, request: PreparedRequest, call: Exchange, deadline: timedelta) -> HttpAnswer:
        """With as much of its body as the call wants to be read at once."""
        current.call = call
        try:
            return cast("HttpAnswer", self._adapter.send(request, timeout=UNTIMED).raw)
        except InvalidURL:
            raise
        except (RequestException, HTTPError) as error:
            cause = root_cause(error)
            raise explain(cause, deadline) from cause


def _prepared(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> PreparedRequest:
    """Field by field, because requests' own way repairs URLs: backslashes, spaces, line ends."""
    request = PreparedRequest()
    request.method = method
    request.url = url
    framing = {} if body is None else {"Content-Length": str(len(body))}
    # A plain dictionary does: requests' own is slow.
    request.headers = cast("CaseInsensitiveDict[str]", {**headers, **framing})
    request.body = body
    return request


def _chunks(answer: HttpAnswer, call: Exchange, silence: timedelta) -> Iterator[bytes]:
    try:
        while True:
            current.call = call  # the thread may have made others meanwhile
            call.until = monotonic() + silence.total_seconds()
            chunk = answer.read1(CHUNK_BYTES)
            if not chunk:
                return
            yield chunk
    except (OSError, HTTPException) as error:
        cause = root_cause(error)
        raise explain(cause, silence) from cause
