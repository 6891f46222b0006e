"""Obtains tokens from IAM for a user and password."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from app.cph.cached_credentials import CachedCredential
from app.cph.credential_cache import CredentialCache, TokenCache
from app.cph.credentials import AUTH_HEADER, FAILED_PAUSE, CphRequest, NoCredentials
from app.cph.errors import read_refusal
from app.cph.parsing import header_value, read_object, text
from app.domain.times import parse_rfc3339
from app.transport.client import Reply, Transport

# By default, IAM locks a user after five failed logins within 15 minutes.
LOCKOUT_PAUSE = timedelta(minutes=5)

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
            return _read_token(reply)
        refusal = read_refusal(reply, secrets=[self._password])
        if reply.status in (401, 403):
            raise NoCredentials(str(refusal), LOCKOUT_PAUSE, refused=True)
        raise NoCredentials(str(refusal), refusal.pause or FAILED_PAUSE)


def _login(user: str, password: str, domain: str, project_id: str) -> bytes:
    person = {"name": user, "password": password, "domain": {"name": domain}}
    identity = {"methods": ["password"], "password": {"user": person}}
    return json.dumps({"auth": {"identity": identity, "scope": {"project": {"id": project_id}}}}).encode()


def _read_token(reply: Reply) -> tuple[str, datetime]:
    details = read_object(reply).get("token")
    expires_at = parse_rfc3339(text(details.get("expires_at"))) if isinstance(details, dict) else None
    token = header_value(reply.headers.get("x-subject-token"))
    if expires_at is None or token is None:
        raise NoCredentials("the answer holds no token")
    return token, expires_at
