"""Who asks: everything under /v1 needs an API key, whether it exists or not."""

from collections.abc import Callable

from flask import Request, g
from flask.globals import request_ctx
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from app.api.auth.jwt_tokens import JwtAuthenticator, looks_like_token
from app.domain.access import Principal, Scope
from app.store.api_keys import ApiKeys

READING = ("GET", "HEAD")
MANAGING = ("/v1/keys/",)
SENDING = ("/v1/deliveries/", "/v1/destinations/")  # whoever writes here says what is sent, and when


class Authenticator:
    """By API key or JWT."""

    def __init__(self, api_keys: ApiKeys, jwt: JwtAuthenticator | None) -> None:
        self._api_keys = api_keys
        self._jwt = jwt

    def principal(self, credential: str) -> Principal | None:
        """None for a credential that is not valid."""
        if self._jwt and looks_like_token(credential):
            return self._jwt.principal(credential)
        return self._api_keys.principal(credential)


class Access:
    """principal_of: who shows a key, None for nobody. ready: raises Unavailable while nobody may be let in."""

    def __init__(self, principal_of: Callable[[str], Principal | None], ready: Callable[[], None]) -> None:
        self._principal_of = principal_of
        self._ready = ready

    def check(self) -> None:
        """Raises what is answered 401 or 403."""
        asked = request_ctx.request  # once: each look through Flask's proxies costs
        if not f"{asked.path}/".startswith("/v1/"):
            return
        self._ready()
        principal = g.principal = self._principal(asked)
        scope = required_scope(asked.method, asked.path)
        if not principal.may(scope):
            raise Forbidden(f"this key lacks the scope {scope}")

    def _principal(self, asked: Request) -> Principal:
        scheme, _, key = asked.headers.get("Authorization", "").partition(" ")
        key = key.strip()
        principal = self._principal_of(key) if scheme.lower() == "bearer" else None
        if principal is None:
            detail = "send `Authorization: Bearer <key>` with a key that is valid"
            raise Unauthorized(detail, www_authenticate=WWWAuthenticate("bearer"))
        g.still_good = lambda: self._principal_of(key) == principal
        return principal


def required_scope(method: str, path: str) -> Scope:
    """The scope that a call needs; path: as it was sent, or with names in place of ids."""
    below = f"{path}/"
    if below.startswith(MANAGING):
        return Scope.ADMIN
    if method in READING:
        return Scope.REGISTRATIONS_READ
    return Scope.DELIVERIES_WRITE if below.startswith(SENDING) else Scope.REGISTRATIONS_WRITE


def tenant() -> str:
    """Whose key this request has shown."""
    principal: Principal = g.principal
    return principal.tenant


def still_good() -> Callable[[], bool]:
    """Whether the key of this request is good, for an answer that goes on when the request is long over."""
    check: Callable[[], bool] = g.still_good
    return check
