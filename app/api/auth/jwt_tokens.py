"""Authenticates by JWT instead of API key. One issuer: an OpenID provider, or Kubernetes for its service accounts."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, cast

import jwt
from jwt.types import Options

from app import logs
from app.config.settings import Settings
from app.domain.access import TENANT_NAME, Principal, Scope
from app.domain.errors import Unavailable
from app.domain.grant import TlsFiles
from app.store.api_keys import PREFIX
from app.transport.client import Transport
from app.transport.unreachable import Unreachable

# Asymmetric only: never `none`, nor HMAC, whose key the issuer would have to share.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
CLOCK_SKEW = timedelta(seconds=30)
# The library compares times with this machine's clock, which may be wrong: we do it ourselves.
CLAIM_OPTIONS: Options = {
    "require": ["exp", "iss", "aud"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
FETCH_DEADLINE = timedelta(seconds=3)
MAX_ANSWER_BYTES = 256 * 1024
KEYS_TTL_S = 600.0
REFETCH_INTERVAL_S = 10.0  # between fetches, after an unknown key id or an issuer that did not answer
DISCOVERY = "/.well-known/openid-configuration"
MAX_SUBJECT_LENGTH = 200


@dataclass(frozen=True, slots=True)
class ClaimPaths:
    """JSON pointers to the tenant and scopes in a JWT's claims. default_scopes: of a JWT without a scopes claim."""

    tenant: str
    scopes: str
    default_scopes: frozenset[Scope]


class IssuerKeys:
    """The issuer's keys by id, fetched on demand and cached. Thread-safe. monotonic: a clock in seconds."""

    def __init__(self, issuer: str, url: str | None, ca: str | None, monotonic: Callable[[], float]) -> None:
        self._issuer = issuer
        self._url = url
        self._tls = TlsFiles(ca=ca)
        self._monotonic = monotonic
        self._transport = Transport()
        self._fetching = Lock()
        self._keys: Mapping[str | None, jwt.PyJWK] | None = None
        self._fetched_at = self._tried_at = float("-inf")

    def get(self, id: str | None) -> jwt.PyJWK | None:
        """Returns None if the issuer has no such key. Raises Unavailable until its keys have been fetched once."""
        now = self._monotonic()
        keys = self._keys
        if keys is None or id not in keys or now >= self._fetched_at + KEYS_TTL_S:
            with self._fetching:
                if now >= self._tried_at + REFETCH_INTERVAL_S:
                    self._tried_at = now
                    self._refresh(now)
            keys = self._keys
        if keys is None:
            raise Unavailable("the JWT issuer's keys cannot be fetched")
        return keys.get(id)

    def _refresh(self, now: float) -> None:
        """Fetches the keys. If that fails, the cached keys stay valid."""
        try:
            url = self._url or self._fetch_json(self._issuer.rstrip("/") + DISCOVERY)["jwks_uri"]
            keys = self._fetch_json(url)["keys"]
            self._keys = {key.key_id: key for key in map(_signature_key, keys) if key}
            self._fetched_at = now
        except (Unreachable, ValueError, KeyError, TypeError, AttributeError) as error:
            logs.event("oidc.keys_not_fetched", level=logging.WARNING, reason=type(error).__name__, issuer=self._issuer)

    def _fetch_json(self, url: str) -> Any:
        reply = self._transport.send(
            "GET",
            url,
            headers={"Accept": "application/json"},
            deadline=FETCH_DEADLINE,
            max_bytes=MAX_ANSWER_BYTES,
            tls=self._tls,
        )
        if reply.status != 200 or reply.truncated:
            raise ValueError(f"HTTP status {reply.status}")
        return json.loads(reply.body)


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
        try:
            key = self._keys.get(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer,
                options=CLAIM_OPTIONS,
            )
        except jwt.PyJWTError:
            return None
        if not _is_current(claims, self._clock()):
            return None
        tenant = resolve_pointer(claims, self._claim_paths.tenant)
        if not isinstance(tenant, str) or not TENANT_NAME.fullmatch(tenant):
            return None
        return Principal(tenant, self._scopes(claims), f"jwt:{str(claims.get('sub', ''))[:MAX_SUBJECT_LENGTH]}")

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


def _signature_key(values: Mapping[str, Any]) -> jwt.PyJWK | None:
    """Returns None for an unsupported key type or algorithm, and for encryption keys."""
    try:
        key = jwt.PyJWK.from_dict(dict(values))
    except jwt.PyJWTError:
        return None
    return key if key.public_key_use in (None, "sig") and key.algorithm_name in ALGORITHMS else None


def jwt_authenticator(settings: Settings, clock: Callable[[], datetime]) -> JwtAuthenticator | None:
    """Returns None if no JWT issuer is configured."""
    if not (settings.oidc_issuer and settings.oidc_audience):
        return None
    keys = IssuerKeys(settings.oidc_issuer, settings.oidc_keys_url, settings.oidc_ca_file, time.monotonic)
    paths = ClaimPaths(settings.oidc_tenant_claim, settings.oidc_scopes_claim, frozenset(settings.oidc_scopes))
    return JwtAuthenticator(
        keys, issuer=settings.oidc_issuer, audience=settings.oidc_audience, claim_paths=paths, clock=clock
    )
