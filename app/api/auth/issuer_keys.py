"""The public keys of the JWT issuer, fetched on demand and cached."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from typing import Any

import jwt

from app import logs
from app.domain.errors import Unavailable
from app.domain.foreign_json import DamagedText, exact_text, read_object
from app.domain.grant import TlsFiles
from app.transport.client import Reply, Transport
from app.transport.unreachable import Unreachable

# By `kty` and `crv` of a key. Asymmetric only: never `none`, nor HMAC, whose key the issuer would have to share.
ALGORITHMS: Mapping[tuple[str | None, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}
FETCH_DEADLINE = timedelta(seconds=3)
MAX_ANSWER_BYTES = 256 * 1024
KEYS_TTL_S = 600.0
REFETCH_INTERVAL_S = 10.0  # between fetches, after an unknown key or an issuer that did not answer
DISCOVERY = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A key of the set (RFC 7517) for one algorithm: a key without `alg` is there once for each that it fits."""

    id: str | None
    algorithm: str
    key: jwt.PyJWK


class IssuerKeys:
    """Thread-safe. monotonic: a clock in seconds."""

    def __init__(self, issuer: str, url: str | None, ca: str | None, monotonic: Callable[[], float]) -> None:
        self._issuer = issuer
        self._url = url
        self._tls = TlsFiles(ca=ca)
        self._monotonic = monotonic
        self._transport = Transport()
        self._fetching = Lock()
        self._keys: Sequence[IssuerKey] = ()
        self._fetched_at = self._tried_at = float("-inf")

    def fitting(self, id: str | None, algorithm: str) -> Sequence[jwt.PyJWK]:
        """Returns the keys that may have signed a JWT with this header, usually one or none.

        Raises Unavailable until the keys have been fetched once.
        """
        now = self._monotonic()
        found = _fitting(self._keys, id, algorithm)
        if not found or now >= self._fetched_at + KEYS_TTL_S:
            with self._fetching:
                if now >= self._tried_at + REFETCH_INTERVAL_S:
                    self._tried_at = now
                    self._refresh(now)
            found = _fitting(self._keys, id, algorithm)
        if not self._keys:
            raise Unavailable("the JWT issuer's keys cannot be fetched")
        return found

    def _refresh(self, now: float) -> None:
        """Fetches the keys. If that fails, or none of them can be used, the cached keys stay valid."""
        try:
            self._keys, self._fetched_at = self._fetch_keys(), now
        except ValueError as error:
            logs.event("oidc.keys_not_fetched", level=logging.WARNING, reason=str(error), issuer=self._issuer)

    def _fetch_keys(self) -> Sequence[IssuerKey]:
        keys = tuple(_usable(self._fetch(self._url or self._keys_url()).get("keys")))
        if not keys:
            raise ValueError("the key set has no key for signatures that the bridge supports")
        return keys

    def _keys_url(self) -> str:
        configuration = self._fetch(self._issuer.rstrip("/") + DISCOVERY)
        named = exact_text(configuration.get("issuer"))
        if named != self._issuer:
            # A JWT names the same issuer as this document, so each will be refused.
            logs.event("oidc.issuer_differs", level=logging.WARNING, issuer=self._issuer, named=named)
        url = exact_text(configuration.get("jwks_uri"))
        if not url or not url.lower().startswith(("https://", "http://")):
            raise ValueError(f"{DISCOVERY} has no URL as jwks_uri: set BRIDGE_OIDC_KEYS_URL")
        return url

    def _fetch(self, url: str) -> Mapping[str, Any]:
        """Returns a JSON object. Raises ValueError that says in words what was wrong."""
        try:
            reply = self._transport.send(
                "GET",
                url,
                headers={"Accept": "application/json"},
                deadline=FETCH_DEADLINE,
                max_bytes=MAX_ANSWER_BYTES,
                tls=self._tls,
            )
            fault = _fault(reply)
        except Unreachable as error:
            fault = str(error)
        except ValueError:
            fault = "the URL is malformed"
        if fault:
            raise ValueError(f"{url.partition('?')[0]}: {fault}")
        return read_object(reply.body)


def _fault(reply: Reply) -> str | None:
    if reply.status != 200:
        moved = reply.headers.get("location", "").partition("?")[0]
        return f"HTTP {reply.status}{f' to {moved}: name that URL' if moved else ''}"
    if reply.truncated:
        return "the answer is incomplete, or longer than 256 KiB"
    return None if read_object(reply.body) else "the answer is no JSON object"


def _fitting(keys: Sequence[IssuerKey], id: str | None, algorithm: str) -> Sequence[jwt.PyJWK]:
    """A JWT may omit the key id if only one key fits: OpenID Connect Core 1.0, 10.1."""
    found = [each.key for each in keys if each.algorithm == algorithm and id in (None, each.id)]
    return found if id is not None or len(found) == 1 else ()


def _usable(keys: object) -> Iterator[IssuerKey]:
    """Yields the public signature keys of a key set; skips everything else in it."""
    for values in keys if isinstance(keys, list) else ():
        if isinstance(values, dict) and _is_for_verifying(values):
            kty = exact_text(values.get("kty"))
            curve = None if kty == "RSA" else exact_text(values.get("crv"))
            for algorithm in ALGORITHMS.get((kty, curve), ()):
                if values.get("alg") in (None, algorithm) and (key := _parsed(values, algorithm)):
                    yield IssuerKey(exact_text(values.get("kid")), algorithm, key)


def _is_for_verifying(values: Mapping[str, Any]) -> bool:
    """Returns False for a private key, too: who publishes it cannot be the only one to sign with it."""
    operations = values.get("key_ops")
    return (
        "d" not in values
        and values.get("use") in (None, "sig")
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
        and not any(isinstance(value, DamagedText) for value in values.values())
    )


def _parsed(values: Mapping[str, Any], algorithm: str) -> jwt.PyJWK | None:
    try:
        return jwt.PyJWK(dict(values), algorithm)
    except (jwt.PyJWTError, ArithmeticError):
        return None
