"""A JSON client for the servers of a trial."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

TIMEOUT_S = 10

# All servers are on this machine, so proxies from the environment are ignored.
_opener = build_opener(ProxyHandler({}))


class ApiRefused(OSError):
    """The server answered with a status other than 2xx."""

    def __init__(self, request: Request, status: int, body: str) -> None:
        super().__init__(f"{request.method} {request.full_url} was answered {status}: {body}")
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class BridgeClient:
    url: str
    key: str | None = None

    def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """Returns the JSON of the answer; None if the body is empty. Raises ApiRefused unless the status is 2xx."""
        request = Request(self.url + path, method=method, headers=dict(headers or {}))
        if self.key:
            request.add_header("Authorization", f"Bearer {self.key}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with _opener.open(request, timeout=TIMEOUT_S) as answer:
                text = answer.read()
        except HTTPError as error:
            with error:
                raise ApiRefused(request, error.code, error.read().decode(errors="replace")) from None
        return json.loads(text) if text else None
