"""Access keys: those that an operator gave, and temporary ones that where we run gives."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from pydantic import TypeAdapter

from app.cph.cached_credentials import Held
from app.cph.credential_cache import Renewing, TokenCache
from app.cph.credentials import CphRequest
from app.cph.signing import SECURITY_TOKEN, Key, sign


class AccessKey:
    """Credentials that cannot be renewed. CPH locks a key for five minutes after more than five failures in a row."""

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        security_token: str | None = None,
        *,
        project_id: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._key = Key(access_key, secret_key, security_token)
        self._project_id = project_id
        self._clock = clock

    def authorise(self, request: CphRequest) -> Mapping[str, str]:
        return sign(request, self._key, self._project_id, self._clock())

    def refused(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002 there is but one key
        return False


class KeySource(Protocol):
    """issuer: its name, for logs."""

    issuer: str

    def issue(self) -> tuple[Key, datetime]:
        """A key and its end. Raises NoCredentials or Unreachable."""


class TemporaryKeys:
    """Credentials. What the cache raises passes through."""

    def __init__(self, source: KeySource, *, project_id: str, cache: TokenCache, clock: Callable[[], datetime]) -> None:
        held = TypeAdapter(Held[Key])
        self._keys = Renewing(source.issuer, source.issue, held=held, cache=cache, clock=clock)
        self._project_id = project_id
        self._clock = clock

    @property
    def expires_at(self) -> datetime | None:
        return self._keys.expires_at

    def authorise(self, request: CphRequest) -> Mapping[str, str]:
        return sign(request, self._keys.proof(), self._project_id, self._clock())

    def refused(self, headers: Mapping[str, str]) -> bool:
        return self._keys.renew(lambda key: key.security_token == headers[SECURITY_TOKEN])
