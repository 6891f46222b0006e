"""Client of the bridge's API. Each error is one line that says what to do and does not contain the key."""

import json
import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from app.cli.sse import ServerSentEvent, messages
from app.domain.errors import OperatorError, Unavailable
from app.domain.grant import TlsFiles
from app.domain.retry_after import retry_after
from app.transport.client import PUBLIC, StreamReply, Transport
from app.transport.unreachable import Unreachable
from app.version import VERSION

KEY = re.compile(r"[!-~]{1,512}")
MAX_PAGE_SIZE = 200  # the API's limit
DEADLINE = timedelta(seconds=30)
MAX_BYTES = 64 * 1024 * 1024  # three times a page of registrations with a thousand jobs each
STREAM_TIMEOUT = timedelta(seconds=45)  # the API sends a heartbeat every 15
MIN_DELAY, MAX_DELAY = timedelta(seconds=1), timedelta(seconds=30)
MAX_MESSAGE_LENGTH = 300
MAX_ERROR_BYTES = 60_000  # read of an error response to a stream request
RETRY_STATUSES = (429, 502, 503, 504)
KEY_HINT = "an admin creates one with `cph-bridge keys create --tenant …`; set BRIDGE_KEY or BRIDGE_KEY_FILE"

Query = Mapping[str, str | int | None]


class ApiUnavailable(Unavailable):
    """The API cannot be reached, failed (5xx), or asks to retry later. retry_after: the wait that it asked for."""

    def __init__(self, message: str, retry_after: timedelta = timedelta()) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class ApiClient:
    """Calls the API. url: validated by `check_url`; its path, if any, is what a proxy puts before /v1."""

    url: str
    key: str = field(repr=False)
    tls: TlsFiles = PUBLIC
    transport: Transport = field(default_factory=Transport)

    def __post_init__(self) -> None:
        if "?" in self.url:
            raise OperatorError("the API's URL must not have a query: check --api, BRIDGE_URL")
        if not self.key:
            raise OperatorError(f"no API key was given: {KEY_HINT}")
        if not KEY.fullmatch(self.key):
            raise OperatorError(f"the API key contains invalid characters: {KEY_HINT}")

    def get(self, path: str, query: Query | None = None) -> Any:
        return self.call("GET", path, query=query)

    def call(self, method: str, path: str, body: object = None, query: Query | None = None) -> Any:
        """Returns the response's JSON; None if it is empty.

        Raises ApiUnavailable if a retry may help, OperatorError if somebody must act.
        """
        payload = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({} if payload is None else {"Content-Type": "application/json"})
        try:
            reply = self.transport.send(
                method,
                self._url(path, query),
                headers=headers,
                body=payload,
                deadline=DEADLINE,
                max_bytes=MAX_BYTES,
                tls=self.tls,
            )
        except Unreachable as error:
            raise self._unavailable(error) from None
        if not 200 <= reply.status < 300:
            raise self._error(path, reply.status, reply.headers, reply.body)
        return self._parse(reply.body) if reply.body else None

    def items(self, path: str, query: Query, limit: int) -> Iterator[Any]:
        """Yields items of a list, reading its pages as needed. limit: of items."""
        return islice(self._items(path, query, min(limit, MAX_PAGE_SIZE)), limit)

    def _items(self, path: str, query: Query, page_size: int) -> Iterator[Any]:
        cursor = None
        while True:
            page = self.get(path, {**query, "limit": page_size, "cursor": cursor})
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    @contextmanager
    def events(self, after: str) -> Iterator[Iterator[ServerSentEvent]]:
        """Opens the event stream after a cursor, '' for all events. Ends when the API ends it; else ApiUnavailable."""
        path = "/v1/events/stream"
        url = self._url(path, {"after": after or None})
        try:
            headers = self._headers | {"Accept": "text/event-stream"}
            with self.transport.stream(url, headers=headers, idle_timeout=STREAM_TIMEOUT, tls=self.tls) as opened:
                if opened.status != 200:
                    raise self._error(path, opened.status, opened.headers, _read_error_body(opened))
                yield messages(opened.chunks)
        except Unreachable as error:
            raise self._unavailable(error) from None

    @property
    def origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", "User-Agent": f"cph-bridge/{VERSION}"}

    def _url(self, path: str, query: Query | None) -> str:
        params = {name: value for name, value in (query or {}).items() if value is not None}
        url = self.url.rstrip("/") + path
        return f"{url}?{urlencode(params, errors='surrogateescape')}" if params else url

    def _unavailable(self, error: Unreachable) -> ApiUnavailable:
        return ApiUnavailable(f"the API at {self.origin} cannot be reached ({error}): check --api, BRIDGE_URL")

    def _error(self, path: str, status: int, headers: Mapping[str, str], body: bytes) -> Exception:
        problem = _problem(body)
        message = self._mask_key(_message(problem) or f"HTTP {status}")
        if status in RETRY_STATUSES:
            wait = retry_after(headers.get("retry-after")) or timedelta()
            return ApiUnavailable(f"the API at {self.origin} asks to retry later: {message}", wait)
        if status >= 500:
            id = headers.get("x-request-id", "-")
            return ApiUnavailable(f"the API at {self.origin} failed: {message} (see request_id {id} in its log)")
        if not problem:
            return OperatorError(
                f"{self.origin} answers HTTP {status}, not as the bridge's API: check --api, BRIDGE_URL"
            )
        messages = {
            401: f"the API at {self.origin} rejects the key: {KEY_HINT}",
            403: f"{message} (the key lacks a scope: use another key, or ask an admin)",
            404: f"{path.removeprefix('/v1/')} does not exist, or is not visible with this key",
        }
        return OperatorError(messages.get(status, message))

    def _parse(self, body: bytes) -> Any:
        try:
            return json.loads(body)
        except ValueError:
            raise OperatorError(f"{self.origin} does not answer with JSON: check --api, BRIDGE_URL") from None

    def _mask_key(self, message: str) -> str:
        return message.replace(self.key, "…")


def path_of(*parts: str) -> str:
    """Returns the path below /v1 with each part quoted: ids are typed by users."""
    return "/v1/" + "/".join(quote(part, safe="", errors="surrogateescape") for part in parts)


def retry_delays() -> Iterator[timedelta]:
    """Yields delays between retries: exponential from 1 s to 30 s, with up to 25 % jitter."""
    delay = MIN_DELAY
    while True:
        yield delay * random.uniform(0.75, 1)
        delay = min(2 * delay, MAX_DELAY)


def _read_error_body(opened: StreamReply) -> bytes:
    body = b""
    for chunk in opened.chunks:
        body += chunk
        if len(body) > MAX_ERROR_BYTES:
            break
    return body


def _problem(body: bytes) -> dict[str, Any]:
    """Returns the problem details (RFC 9457); empty if the body has none."""
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) and "detail" in problem else {}


def _message(problem: Mapping[str, Any]) -> str:
    """Returns one printable line of at most 300 characters: the server may not be the bridge."""
    if not problem:
        return ""
    faults = "; ".join(f"{each.get('pointer')}: {each.get('detail')}" for each in problem.get("errors") or ())
    message = faults or str(problem["detail"])
    hint = f" ({problem['hint']})" if problem.get("hint") else ""
    return "".join(c if c.isprintable() else " " for c in message + hint)[:MAX_MESSAGE_LENGTH]
