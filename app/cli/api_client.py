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

from app.cli.answers import Answer, UnreadableAnswer, records, required_records
from app.cli.sse import ServerSentEvent, messages
from app.domain.errors import OperatorError, Unavailable
from app.domain.foreign_json import exact_text, read_object
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
MAX_RETRY_AFTER = timedelta(minutes=5)  # whatever a proxy asks for
RETRY_STATUSES = (408, 429, 502, 503, 504)
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

    def get(self, path: str, query: Query | None = None) -> Answer:
        answer = self.call("GET", path, query=query)
        if not answer:
            raise UnreadableAnswer(f"{self.origin} gives an empty answer: check --api, BRIDGE_URL")
        return answer

    def call(self, method: str, path: str, body: object = None, query: Query | None = None) -> Answer:
        """Returns the fields of the response; none if it is empty.

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
        if reply.truncated:
            raise ApiUnavailable(f"the answer of the API at {self.origin} is incomplete")
        answer = read_object(reply.body)
        if not answer and reply.body.strip() not in (b"", b"{}"):
            raise UnreadableAnswer(f"{self.origin} does not answer with JSON: check --api, BRIDGE_URL")
        return answer

    def items(self, path: str, query: Query, limit: int) -> Iterator[Answer]:
        """Yields items of a list, reading its pages as needed. limit: of items."""
        return islice(self._items(path, query, min(limit, MAX_PAGE_SIZE)), limit)

    def _items(self, path: str, query: Query, page_size: int) -> Iterator[Answer]:
        cursor = None
        while True:
            page = self.get(path, {**query, "limit": page_size, "cursor": cursor})
            yield from required_records(page, "items")
            previous, cursor = cursor, exact_text(page.get("next_cursor"))
            if cursor is None and page.get("next_cursor", "") is None:
                return
            if cursor in (None, previous):
                raise UnreadableAnswer("the list is incomplete: the API's answer does not say where it goes on")

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
                self._check_is_stream(opened.headers)
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
        url = self.url.rstrip("/").removesuffix("/v1") + path
        return f"{url}?{urlencode(params, errors='surrogateescape')}" if params else url

    def _unavailable(self, error: Unreachable) -> ApiUnavailable:
        return ApiUnavailable(f"the API at {self.origin} cannot be reached ({error}): check --api, BRIDGE_URL")

    def _error(self, path: str, status: int, headers: Mapping[str, str], body: bytes) -> Exception:
        problem = _problem(body)
        message = self._mask_key(_message(problem) or f"HTTP {status}")
        if status in RETRY_STATUSES:
            wait = retry_after(headers.get("retry-after")) or timedelta()
            text = f"the API at {self.origin} asks to retry later: {message}"
            return ApiUnavailable(text, min(wait, MAX_RETRY_AFTER))
        if status >= 500:
            id = _one_line(headers.get("x-request-id", "-"))
            return ApiUnavailable(f"the API at {self.origin} failed: {message} (see request_id {id} in its log)")
        if not problem:
            return OperatorError(f"{self.origin} answers HTTP {status}, {self._meaning(status, headers)}")
        messages = {
            401: f"the API at {self.origin} rejects the key: {KEY_HINT}",
            403: f"{message} (the key lacks a scope: use another key, or ask an admin)",
            404: f"{path.removeprefix('/v1/')} does not exist, or is not visible with this key",
        }
        return OperatorError(messages.get(status, message))

    def _meaning(self, status: int, headers: Mapping[str, str]) -> str:
        """What to do about an answer that is not the bridge's."""
        location = self._mask_key(_one_line(headers.get("location", "").partition("?")[0]))
        if 300 <= status < 400 and location:
            return f"a redirect to {location}: name the API's own URL in --api, BRIDGE_URL"
        return {
            401: "not as the bridge's API: a proxy before it asks for credentials of its own; check --api, BRIDGE_URL",
            407: "a proxy that asks for credentials: take it out of the way, or check --api, BRIDGE_URL",
            413: "a proxy that refuses the size of the request: raise its limit, or name fewer items",
        }.get(status, "not as the bridge's API: check --api, BRIDGE_URL")

    def _check_is_stream(self, headers: Mapping[str, str]) -> None:
        found = headers.get("content-type", "")
        if not found.lower().startswith("text/event-stream"):
            kind = _one_line(found) or "no type"
            raise ApiUnavailable(f"{self.origin} answers with {kind} instead of events: check --api, BRIDGE_URL")

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
    problem = read_object(body)
    return problem if "detail" in problem else {}


def _message(problem: Mapping[str, Any]) -> str:
    """Returns one printable line of at most 300 characters: the server may not be the bridge."""
    if not problem:
        return ""
    errors = records(problem.get("errors"))
    faults = "; ".join(f"{each.get('pointer')}: {each.get('detail')}" for each in errors)
    message = faults or str(problem["detail"])
    hint = f" ({problem['hint']})" if problem.get("hint") else ""
    return _one_line(message + hint)


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:MAX_MESSAGE_LENGTH]
