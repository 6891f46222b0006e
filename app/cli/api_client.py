"""The bridge's API, as its commands call it. What goes wrong becomes one line that says what to do, without the key."""

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
from app.transport.client import PUBLIC, Opened, Transport
from app.transport.unreachable import Unreachable
from app.version import VERSION

KEY = re.compile(r"[!-~]{1,512}")
AT_ONCE = 200  # the most that a page holds
DEADLINE = timedelta(seconds=30)
MOST_BYTES = 64 * 1024 * 1024  # a page of registrations of a thousand jobs each has a third of it
SILENCE = timedelta(seconds=45)  # the API sends a heartbeat every 15
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(seconds=30)
MOST_WORDS = 300
WAIT_STATUSES = (429, 502, 503, 504)
GET_A_KEY = "an admin makes one with `cph-bridge keys create --tenant …`; give it by BRIDGE_KEY or BRIDGE_KEY_FILE"

Query = Mapping[str, str | int | None]


class Away(Unavailable):
    """The API cannot be asked just now. retry_after: what it asked for."""

    def __init__(self, words: str, retry_after: timedelta = timedelta()) -> None:
        super().__init__(words)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class ApiClient:
    """url: see `is_url`; without a path of its own, or with the one that a proxy puts before /v1."""

    url: str
    key: str = field(repr=False)
    tls: TlsFiles = PUBLIC
    transport: Transport = field(default_factory=Transport)

    def __post_init__(self) -> None:
        if "?" in self.url:
            raise OperatorError("the API's URL has a query in it: see --api, BRIDGE_URL")
        if not self.key:
            raise OperatorError(f"no API key was given: {GET_A_KEY}")
        if not KEY.fullmatch(self.key):
            raise OperatorError(f"the API key has characters in it that no key has: {GET_A_KEY}")

    def get(self, path: str, query: Query | None = None) -> Any:
        return self.call("GET", path, query=query)

    def call(self, method: str, path: str, body: object = None, query: Query | None = None) -> Any:
        """The answer's JSON, None when it is empty. OperatorError for what somebody must mend, else Away."""
        payload = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({} if payload is None else {"Content-Type": "application/json"})
        try:
            reply = self.transport.send(
                method,
                self._address(path, query),
                headers=headers,
                body=payload,
                deadline=DEADLINE,
                max_bytes=MOST_BYTES,
                tls=self.tls,
            )
        except Unreachable as error:
            raise self._away(error) from None
        if not 200 <= reply.status < 300:
            raise self._refused(path, reply.status, reply.headers, reply.body)
        return self._read(reply.body) if reply.body else None

    def items(self, path: str, query: Query, limit: int) -> Iterator[Any]:
        """Of a list, as its pages come."""
        return islice(self._items(path, query, min(limit, AT_ONCE)), limit)

    def _items(self, path: str, query: Query, at_once: int) -> Iterator[Any]:
        cursor = None
        while True:
            page = self.get(path, {**query, "limit": at_once, "cursor": cursor})
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    @contextmanager
    def events(self, after: str) -> Iterator[Iterator[ServerSentEvent]]:
        """The stream behind that place, '' for all of it; it ends when the API ends it, and breaks off with Away."""
        path = "/v1/events/stream"
        address = self._address(path, {"after": after or None})
        try:
            headers = self._headers | {"Accept": "text/event-stream"}
            with self.transport.stream(address, headers=headers, silence=SILENCE, tls=self.tls) as opened:
                if opened.status != 200:
                    raise self._refused(path, opened.status, opened.headers, _all(opened))
                yield messages(opened.chunks)
        except Unreachable as error:
            raise self._away(error) from None

    @property
    def origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", "User-Agent": f"cph-bridge/{VERSION}"}

    def _address(self, path: str, query: Query | None) -> str:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        address = self.url.rstrip("/") + path
        return f"{address}?{urlencode(given, errors='surrogateescape')}" if given else address

    def _away(self, error: Unreachable) -> Away:
        return Away(f"the API at {self.origin} cannot be reached ({error}): is that its URL? See --api, BRIDGE_URL")

    def _refused(self, path: str, status: int, headers: Mapping[str, str], body: bytes) -> Exception:
        problem = _problem(body)
        said = self._without_key(_words(problem) or f"HTTP {status}")
        if status in WAIT_STATUSES:
            wait = retry_after(headers.get("retry-after")) or timedelta()
            return Away(f"the API at {self.origin} asks to wait: {said}", wait)
        if status >= 500:
            id = headers.get("x-request-id", "-")
            return Away(f"the API at {self.origin} failed: {said} Its log has more under request_id {id}")
        if not problem:
            words = f"{self.origin} answers HTTP {status}, and not as the bridge does: see --api, BRIDGE_URL"
            return OperatorError(words)
        remedies = {
            401: f"the API at {self.origin} does not take the key: {GET_A_KEY}",
            403: f"{said} (the key lacks a scope: take another, or ask an admin)",
            404: f"{path.removeprefix('/v1/')} is not there, or not this key's to see",
        }
        return OperatorError(remedies.get(status, said))

    def _read(self, body: bytes) -> Any:
        try:
            return json.loads(body)
        except ValueError:
            words = f"{self.origin} does not answer as the bridge's API does: see --api, BRIDGE_URL"
            raise OperatorError(words) from None

    def _without_key(self, words: str) -> str:
        return words.replace(self.key, "…")


def path_of(*parts: str) -> str:
    """Below /v1, whatever was typed as an id."""
    return "/v1/" + "/".join(quote(part, safe="", errors="surrogateescape") for part in parts)


def waits() -> Iterator[timedelta]:
    """Between tries: longer and longer, and not all clients at the same moment."""
    wait = FIRST_WAIT
    while True:
        yield wait * random.uniform(0.75, 1)
        wait = min(2 * wait, LONGEST_WAIT)


def _all(opened: Opened) -> bytes:
    body = b""
    for chunk in opened.chunks:
        body += chunk
        if len(body) > AT_ONCE * MOST_WORDS:
            break
    return body


def _problem(body: bytes) -> dict[str, Any]:
    """RFC 9457's; empty if it is none."""
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) and "detail" in problem else {}


def _words(problem: Mapping[str, Any]) -> str:
    """On one line, and of no more than a line's length: it may be anybody who answers."""
    if not problem:
        return ""
    faults = "; ".join(f"{each.get('pointer')}: {each.get('detail')}" for each in problem.get("errors") or ())
    said = faults or str(problem["detail"])
    hint = f" ({problem['hint']})" if problem.get("hint") else ""
    return "".join(c if c.isprintable() else " " for c in said + hint)[:MOST_WORDS]
