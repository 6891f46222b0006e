"""Proving who we are: what the client asks of credentials, and the simplest of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from app.domain.errors import BridgeError

AUTH_HEADER = "X-Auth-Token"
FAILED_PAUSE = timedelta(minutes=1)


class NoCredentials(BridgeError):
    """There is nothing to prove who we are with, for as long as `pause`. The text never holds a secret.

    refused: we were turned away, so an operator must act; else waiting heals it.
    """

    def __init__(self, words: str, pause: timedelta = FAILED_PAUSE, *, refused: bool = False) -> None:
        super().__init__(words)
        self.pause = pause
        self.refused = refused


@dataclass(frozen=True, slots=True)
class CphRequest:
    """All that a signature may cover. `url` is as it will be sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


class Credentials(Protocol):
    """For use by many threads."""

    def authorise(self, request: CphRequest) -> Mapping[str, str]:
        """The request's headers with those that prove who asks. Raises NoCredentials."""

    def refused(self, headers: Mapping[str, str]) -> bool:
        """The server refused these headers. False: there are no others, so asking again would only count as a failure.

        True: `authorise` gives others, unless somebody else must be asked first and does not answer.
        """


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

    def authorise(self, request: CphRequest) -> Mapping[str, str]:
        return {**request.headers, AUTH_HEADER: self._token}

    def refused(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002 there is but one token
        return False
