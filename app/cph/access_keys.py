"""Access keys: permanent ones set by an operator, and temporary ones issued by the host or cluster."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from pydantic import TypeAdapter

from app.cph.cached_credentials import CachedCredential
from app.cph.credential_cache import CredentialCache, TokenCache
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

    def renew_refused(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002 there is only one key
        return False


class KeySource(Protocol):
    """Issues temporary keys. issuer: its name, for logs."""

    issuer: str

    def issue(self) -> tuple[Key, datetime]:
        """Returns a key and its expiry. Raises NoCredentials or Unreachable."""


class TemporaryKeys:
    """Credentials: a key of `source`, renewed before it expires. Errors of `cache` are not caught."""

    def __init__(self, source: KeySource, *, project_id: str, cache: TokenCache, clock: Callable[[], datetime]) -> None:
        adapter = TypeAdapter(CachedCredential[Key])
        self._keys = CredentialCache(source.issuer, source.issue, adapter=adapter, cache=cache, clock=clock)
        self._project_id = project_id
        self._clock = clock

    @property
    def expires_at(self) -> datetime | None:
        return self._keys.expires_at

    def authorise(self, request: CphRequest) -> Mapping[str, str]:
        return sign(request, self._keys.current(), self._project_id, self._clock())

    def renew_refused(self, headers: Mapping[str, str]) -> bool:
        return self._keys.renew_if(lambda key: key.security_token == headers[SECURITY_TOKEN])
