"""Authenticates by JWT instead of API key. One issuer: an OpenID provider, or Kubernetes for its service accounts."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import jwt
from jwt.types import Options

from app.api.auth.issuer_keys import IssuerKeys
from app.config.settings import Settings
from app.domain.access import TENANT_NAME, Principal, Scope
from app.domain.foreign_json import text
from app.store.api_keys import PREFIX

CLOCK_SKEW = timedelta(seconds=30)
# The library compares times with this machine's clock, which may be wrong: we do it ourselves.
CLAIM_OPTIONS: Options = {
    "require": ["exp", "iss", "aud"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
MAX_SUBJECT_LENGTH = 200


@dataclass(frozen=True, slots=True)
class ClaimPaths:
    """JSON pointers to the tenant and scopes in a JWT's claims. default_scopes: of a JWT without a scopes claim."""

    tenant: str
    scopes: str
    default_scopes: frozenset[Scope]


class JwtAuthenticator:
    """Validates JWTs and maps their claims to a principal. clock: RedisClock.world_time."""

    def __init__(
        self,
        keys: IssuerKeys,
        *,
        issuer: str,
        audience: str,
        claim_paths: ClaimPaths,
        clock: Callable[[], datetime],
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._claim_paths = claim_paths
        self._clock = clock

    def principal(self, token: str) -> Principal | None:
        """Returns None for a wrong issuer, audience or signature, an expired token, or one without a valid tenant."""
        claims = self._claims(token)
        if claims is None or not _is_current(claims, self._clock()):
            return None
        tenant = resolve_pointer(claims, self._claim_paths.tenant)
        if not isinstance(tenant, str) or not TENANT_NAME.fullmatch(tenant):
            return None
        return Principal(tenant, self._scopes(claims), f"jwt:{(text(claims.get('sub')) or '')[:MAX_SUBJECT_LENGTH]}")

    def _claims(self, token: str) -> Mapping[str, Any] | None:
        """Returns the claims of a token that the issuer signed for this audience."""
        try:
            header = jwt.get_unverified_header(token)
            keys = self._keys.fitting(header.get("kid"), str(header.get("alg")))
        except (jwt.PyJWTError, RecursionError):
            return None
        for key in keys:
            with suppress(jwt.PyJWTError, RecursionError):
                # The algorithm is the key's: the token's own word for it is not trusted.
                return jwt.decode(
                    token,
                    key,
                    algorithms=[key.algorithm_name],
                    audience=self._audience,
                    issuer=self._issuer,
                    options=CLAIM_OPTIONS,
                )
        return None

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[Scope]:
        claim = resolve_pointer(claims, self._claim_paths.scopes)
        if claim is None:
            return self._claim_paths.default_scopes
        names = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
        return frozenset(scope for scope in Scope if scope.value in names)


def _is_current(claims: Mapping[str, Any], now: datetime) -> bool:
    """Returns whether a JWT is valid at this time. A time that is no number is never valid."""
    try:
        ends, *begins = (int(claims[name]) for name in ("exp", "nbf", "iat") if name in claims)
    except (TypeError, ValueError, OverflowError):
        return False
    skew, now_s = CLOCK_SKEW.total_seconds(), now.timestamp()
    return now_s < ends + skew and all(begin <= now_s + skew for begin in begins)


def looks_like_jwt(credential: str) -> bool:
    return credential.count(".") == 2 and not credential.startswith(f"{PREFIX}_")


def resolve_pointer(values: Any, pointer: str) -> Any:
    """Returns the value at a JSON pointer (RFC 6901, without array indices), or None if there is none."""
    for part in pointer.removeprefix("/").split("/"):
        if not isinstance(values, dict):
            return None
        values = cast("dict[str, Any]", values).get(part.replace("~1", "/").replace("~0", "~"))
    return values


def jwt_authenticator(settings: Settings, clock: Callable[[], datetime]) -> JwtAuthenticator | None:
    """Returns None if no JWT issuer is configured."""
    if not (settings.oidc_issuer and settings.oidc_audience):
        return None
    keys = IssuerKeys(settings.oidc_issuer, settings.oidc_keys_url, settings.oidc_ca_file, time.monotonic)
    paths = ClaimPaths(settings.oidc_tenant_claim, settings.oidc_scopes_claim, frozenset(settings.oidc_scopes))
    return JwtAuthenticator(
        keys, issuer=settings.oidc_issuer, audience=settings.oidc_audience, claim_paths=paths, clock=clock
    )
