"""The credentials interface of the CPH client, and its simplest implementation."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from app.domain.errors import BridgeError

AUTH_HEADER = "X-Auth-Token"
FAILED_PAUSE = timedelta(minutes=1)


class NoCredentials(BridgeError):
    """No credentials are available; retry after `pause`. The message never contains a secret.

    refused: the issuer rejected us, or CPH new credentials: an operator must act; if False, a retry may succeed.
    issuer_unreachable: it sent no response.
    """

    def __init__(
        self,
        message: str,
        pause: timedelta = FAILED_PAUSE,
        *,
        refused: bool = False,
        issuer_unreachable: bool = False,
    ) -> None:
        super().__init__(message)
        self.pause = pause
        self.refused = refused
        self.issuer_unreachable = issuer_unreachable


@dataclass(frozen=True, slots=True)
class CphRequest:
    """The parts of a request that a signature covers. `url`: exactly as it is sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


class Credentials(Protocol):
    """Thread-safe."""

    def authorise(self, request: CphRequest) -> Mapping[str, str]:
        """Returns the request's headers plus those that authenticate it. Raises NoCredentials."""

    def renew_refused(self, headers: Mapping[str, str]) -> bool:
        """Renews the credentials of `headers`, which the server refused.

        False: there are no others, so a retry would only count as another failure. True: `authorise` returns
        others, or raises NoCredentials if their issuer is unavailable.
        """


@runtime_checkable
class Expiring(Protocol):
    """Credentials with a known expiry."""

    @property
    def expires_at(self) -> datetime | None:
        """None until they are issued."""


class FixedToken:
    """A token set by an operator. It cannot be renewed."""

    def __init__(self, token: str) -> None:
        self._token = token

    def authorise(self, request: CphRequest) -> Mapping[str, str]:
        return {**request.headers, AUTH_HEADER: self._token}

    def renew_refused(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002 there is only one token
        return False
