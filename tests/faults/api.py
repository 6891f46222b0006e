"""Calls the bridge's API as a caller does."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

TIMEOUT_S = 12.0


@dataclass(frozen=True, slots=True)
class ApiReply:
    """status: 0 if there was no answer."""

    status: int
    body: Any = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Api:
    def __init__(self, port: int) -> None:
        self.port = port

    def call(
        self,
        key: str,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float = TIMEOUT_S,
    ) -> ApiReply:
        """Never raises for what the API or the connection does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        sent = {"Authorization": f"Bearer {key}", **(headers or {})}
        content = None
        if body is not None:
            content = json.dumps(body)
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method, path, content, sent)
            answer = connection.getresponse()
            text = answer.read()
            return ApiReply(answer.status, json.loads(text) if text else None)
        except (OSError, http.client.HTTPException, ValueError):
            return ApiReply(0)
        finally:
            connection.close()

    def events(self, key: str, after: str = "", *, wait_s: int = 0) -> ApiReply:
        query = "limit=200" + (f"&after={quote(after)}" if after else "") + (f"&wait_s={wait_s}" if wait_s else "")
        return self.call(key, "GET", f"/v1/events?{query}", timeout=TIMEOUT_S + wait_s)

    def page(self, path: str) -> str:
        """The text of a page without a key, or '' while there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            page = answer.read() if answer.status == 200 else b""
            return page.decode()
        except (OSError, http.client.HTTPException, ValueError):
            return ""
        finally:
            connection.close()
