"""Proving who we are: what the client asks of credentials, and the simplest of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from app.domain.errors import BridgeError

AUTH_HEADER = "X-Auth-Token"


class NoCredentials(BridgeError):
    """There is nothing to prove who we are with, for as long as `pause`. The text never holds a secret."""

    def __init__(self, words: str, pause: timedelta) -> None:
        super().__init__(words)
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Request:
    """All that a signature may cover. `url` is as it will be sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


class Credentials(Protocol):
    """For use by many threads."""

    def authorise(self, request: Request) -> Mapping[str, str]:
        """The request's headers with those that prove who asks. Raises NoCredentials."""

    def refused(self, headers: Mapping[str, str]) -> None:
        """The server refused these headers: see to it that `authorise` gives others, if there are any."""


@runtime_checkable
class Expiring(Protocol):
    """Credentials that know when they end."""

    @property
    def expires_at(self) -> datetime | None:
        """None before there are any."""


class FixedToken:
    """A token that an operator gave. It cannot be renewed."""

    def __init__(self, token: str) -> None:
        self._token = token

    def authorise(self, request: Request) -> Mapping[str, str]:
        return {**request.headers, AUTH_HEADER: self._token}

    def refused(self, headers: Mapping[str, str]) -> None:
        """There are no others."""
