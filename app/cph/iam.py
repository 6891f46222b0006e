"""Obtains tokens from IAM for a user and password."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from app.cph.cached_credentials import CachedCredential
from app.cph.credential_cache import CredentialCache, TokenCache
from app.cph.credentials import AUTH_HEADER, FAILED_PAUSE, CphRequest, NoCredentials
from app.cph.errors import read_refusal
from app.cph.parsing import header_value
from app.domain.foreign_json import read_object
from app.domain.times import read_expiry
from app.transport.client import Reply, Transport

# By default, IAM locks a user after five failed logins within 15 minutes.
LOCKOUT_PAUSE = timedelta(minutes=5)
# IAM's tokens live for 24 h. One whose expiry cannot be read is used for this long; CPH's 401 renews it earlier.
ASSUMED_LIFE = timedelta(hours=1)

HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


class IamPassword:
    """Credentials: an IAM token, renewed before it expires. Errors of `cache` are not caught."""

    def __init__(
        self,
        *,
        transport: Transport,
        endpoint: str,
        user: str,
        password: str,
        domain: str,
        project_id: str,
        cache: TokenCache,
        clock: Callable[[], datetime],
        deadline: timedelta,
    ) -> None:
        self._transport = transport
        self._url = f"{endpoint.rstrip('/')}/v3/auth/tokens?nocatalog=true"
        self._body = _login(user, password, domain, project_id)
        self._password = password
        self._deadline = deadline
        self._clock = clock
        self._tokens = CredentialCache(
            "IAM", self._log_in, adapter=TypeAdapter(CachedCredential[str]), cache=cache, clock=clock
        )

    def authorise(self, request: CphRequest) -> Mapping[str, str]:
        return {**request.headers, AUTH_HEADER: self._tokens.current()}

    def renew_refused(self, headers: Mapping[str, str]) -> bool:
        return self._tokens.renew_if(lambda token: token == headers[AUTH_HEADER])

    @property
    def expires_at(self) -> datetime | None:
        return self._tokens.expires_at

    def _log_in(self) -> tuple[str, datetime]:
        reply = self._transport.send("POST", self._url, headers=HEADERS, body=self._body, deadline=self._deadline)
        if reply.status == 201:
            return _read_token(reply, self._clock())
        refusal = read_refusal(reply, secrets=[self._password])
        if reply.status in (401, 403):
            raise NoCredentials(str(refusal), LOCKOUT_PAUSE, refused=True)
        raise NoCredentials(str(refusal), refusal.pause or FAILED_PAUSE)


def _login(user: str, password: str, domain: str, project_id: str) -> bytes:
    person = {"name": user, "password": password, "domain": {"name": domain}}
    identity = {"methods": ["password"], "password": {"user": person}}
    return json.dumps({"auth": {"identity": identity, "scope": {"project": {"id": project_id}}}}).encode()


def _read_token(reply: Reply, now: datetime) -> tuple[str, datetime]:
    token = header_value((reply.headers.get("x-subject-token") or "").strip())
    if token is None:
        raise NoCredentials("the answer to the login has no readable token (header X-Subject-Token)")
    details = read_object(reply.body).get("token")
    expires_at = read_expiry(details.get("expires_at")) if isinstance(details, dict) else None
    return token, expires_at or now + ASSUMED_LIFE
