"""Authenticates and authorises requests: every path under /v1 needs an API key or JWT, whether or not it exists."""

import time
from collections.abc import Callable
from typing import Protocol

from flask import Request, g
from flask.globals import request_ctx
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from app.api.auth.jwt_tokens import JwtAuthenticator, looks_like_jwt
from app.domain.access import Principal, Scope
from app.store.api_keys import ApiKeys

READ_METHODS = ("GET", "HEAD")
CHECK_EVERY_S = 1.0
ADMIN_PATHS = ("/v1/keys/",)
DELIVERY_PATHS = ("/v1/deliveries/", "/v1/destinations/")  # writes here control what is sent, and when


class Authenticator:
    """Authenticates by API key, or by JWT if an issuer is configured."""

    def __init__(self, api_keys: ApiKeys, jwt: JwtAuthenticator | None) -> None:
        self._api_keys = api_keys
        self._jwt = jwt

    def principal(self, credential: str, *, cached: bool = True) -> Principal | None:
        """Returns None if the credential is not valid. cached: False to look up the API key even if it is cached."""
        if self._jwt and looks_like_jwt(credential):
            return self._jwt.principal(credential)
        return self._api_keys.principal(credential, cached=cached)


class PrincipalOf(Protocol):
    """`Authenticator.principal`."""

    def __call__(self, credential: str, *, cached: bool = True) -> Principal | None: ...


class CredentialCheck:
    """Checks whether the credential of a request that waits is still valid: looks it up once a second at most."""

    def __init__(self, look_up: Callable[[], bool]) -> None:
        self._look_up = look_up
        self._next_at = time.monotonic() + CHECK_EVERY_S

    def __call__(self) -> bool:
        if time.monotonic() < self._next_at:
            return True
        self._next_at = time.monotonic() + CHECK_EVERY_S
        return self._look_up()

    def require(self) -> None:
        """Raises Unauthorized (401) if the credential is no longer valid."""
        if not self():
            raise _unauthorized()


class Access:
    """Checks the credential and scope of each request.

    principal_of: authenticates a credential; None if invalid. ready: raises Unavailable while requests must be refused.
    """

    def __init__(self, principal_of: PrincipalOf, ready: Callable[[], None]) -> None:
        self._principal_of = principal_of
        self._ready = ready

    def check(self) -> None:
        """Raises Unauthorized (401), Forbidden (403) or Unavailable (503)."""
        request = request_ctx.request  # read once: each access through Flask's proxies costs time
        if not f"{request.path}/".startswith("/v1/"):
            return
        self._ready()
        principal = g.principal = self._principal(request)
        scope = required_scope(request.method, request.path)
        if not principal.may(scope):
            raise Forbidden(f"this key lacks the scope {scope}")

    def _principal(self, request: Request) -> Principal:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        key = key.strip()
        principal = self._principal_of(key) if scheme.lower() == "bearer" else None
        if principal is None:
            raise _unauthorized()
        g.credential_check = CredentialCheck(lambda: self._principal_of(key, cached=False) == principal)
        return principal


def _unauthorized() -> Unauthorized:
    detail = "send `Authorization: Bearer <key>` with a valid key"
    return Unauthorized(detail, www_authenticate=WWWAuthenticate("bearer"))


def required_scope(method: str, path: str) -> Scope:
    """Returns the scope that a call needs. path: of a request, or a template such as `/v1/keys/{id}`."""
    path_with_slash = f"{path}/"
    if path_with_slash.startswith(ADMIN_PATHS):
        return Scope.ADMIN
    if method in READ_METHODS:
        return Scope.REGISTRATIONS_READ
    return Scope.DELIVERIES_WRITE if path_with_slash.startswith(DELIVERY_PATHS) else Scope.REGISTRATIONS_WRITE


def tenant() -> str:
    """Returns the tenant of this request's credential."""
    principal: Principal = g.principal
    return principal.tenant


def credential_check() -> CredentialCheck:
    """Returns the check of this request's credential. Streams call it after the request has ended."""
    check: CredentialCheck = g.credential_check
    return check
