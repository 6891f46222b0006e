"""JWTs of one issuer instead of API keys: an OpenID provider, or Kubernetes' service accounts."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from typing import Any, cast

import jwt

from app import logs
from app.config.settings import Settings
from app.domain.access import TENANT_NAME, Principal, Scope
from app.domain.errors import Unavailable
from app.domain.grant import TlsFiles
from app.store.api_keys import PREFIX
from app.transport.client import Transport
from app.transport.unreachable import Unreachable

# Never `none`, and none whose key the issuer would have to share.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
CLOCKS_APART = timedelta(seconds=30)
ANSWER = timedelta(seconds=3)
ANSWER_BYTES = 256 * 1024
KEYS_LIVE_S = 600.0
LOOK_AGAIN_S = 10.0  # after a key that nobody knows, or an issuer that does not answer
DISCOVERY = "/.well-known/openid-configuration"
LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class ClaimPaths:
    """Where in a JWT its tenant and scopes stand (JSON pointers), and the scopes of one that says none."""

    tenant: str
    scopes: str
    usual: frozenset[Scope]


class IssuerKeys:
    """Its keys by id, fetched when they are needed, then kept. For use by many threads. monotonic: seconds."""

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
        """None for a key that the issuer does not have. Unavailable while none of its keys could be had."""
        now = self._monotonic()
        keys = self._keys
        if keys is None or id not in keys or now >= self._fetched_at + KEYS_LIVE_S:
            with self._fetching:
                if now >= self._tried_at + LOOK_AGAIN_S:
                    self._tried_at = now
                    self._refresh(now)
            keys = self._keys
        if keys is None:
            raise Unavailable("the issuer of JWTs does not show its keys")
        return keys.get(id)

    def _refresh(self, now: float) -> None:
        """What was known holds while the issuer is away."""
        try:
            url = self._url or self._ask(self._issuer.rstrip("/") + DISCOVERY)["jwks_uri"]
            found = self._ask(url)["keys"]
            self._keys = {key.key_id: key for key in map(_key, found) if key}
            self._fetched_at = now
        except (Unreachable, ValueError, KeyError, TypeError, AttributeError) as error:
            logs.event("oidc.keys_not_fetched", level=logging.WARNING, reason=type(error).__name__, issuer=self._issuer)

    def _ask(self, url: str) -> Any:
        reply = self._transport.send(
            "GET", url, headers={"Accept": "application/json"}, deadline=ANSWER, max_bytes=ANSWER_BYTES, tls=self._tls
        )
        if reply.status != 200 or reply.truncated:
            raise ValueError(f"answered {reply.status}")
        return json.loads(reply.body)


class JwtAuthenticator:
    """What JWTs of the issuer are worth."""

    def __init__(self, keys: IssuerKeys, *, issuer: str, audience: str, claimed: ClaimPaths) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._claimed = claimed

    def principal(self, token: str) -> Principal | None:
        """None for one that is not the issuer's, not for us, over, or without a tenant."""
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
                leeway=CLOCKS_APART,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError:
            return None
        tenant = pointed(claims, self._claimed.tenant)
        if not isinstance(tenant, str) or not TENANT_NAME.fullmatch(tenant):
            return None
        return Principal(tenant, self._scopes(claims), f"jwt:{str(claims.get('sub', ''))[:LONGEST_NAME]}")

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[Scope]:
        said = pointed(claims, self._claimed.scopes)
        if said is None:
            return self._claimed.usual
        words = said.split() if isinstance(said, str) else said if isinstance(said, list) else []
        return frozenset(scope for scope in Scope if scope.value in words)


def looks_like_token(shown: str) -> bool:
    return shown.count(".") == 2 and not shown.startswith(f"{PREFIX}_")


def pointed(values: Any, pointer: str) -> Any:
    """What stands there (RFC 6901, without numbers); None for nothing."""
    for part in pointer.removeprefix("/").split("/"):
        if not isinstance(values, dict):
            return None
        values = cast("dict[str, Any]", values).get(part.replace("~1", "/").replace("~0", "~"))
    return values


def _key(values: Mapping[str, Any]) -> jwt.PyJWK | None:
    """None for a kind that we do not know, and for keys that encrypt."""
    try:
        key = jwt.PyJWK.from_dict(dict(values))
    except jwt.PyJWTError:
        return None
    return key if key.public_key_use in (None, "sig") and key.algorithm_name in ALGORITHMS else None


def jwt_authenticator(settings: Settings) -> JwtAuthenticator | None:
    """None if JWTs are not configured."""
    if not (settings.oidc_issuer and settings.oidc_audience):
        return None
    keys = IssuerKeys(settings.oidc_issuer, settings.oidc_keys_url, settings.oidc_ca_file, time.monotonic)
    paths = ClaimPaths(settings.oidc_tenant_claim, settings.oidc_scopes_claim, frozenset(settings.oidc_scopes))
    return JwtAuthenticator(keys, issuer=settings.oidc_issuer, audience=settings.oidc_audience, claimed=paths)
