"""API keys: shown once, kept as a digest, gone when they expire."""

import hmac
import secrets
from datetime import datetime, timedelta
from hashlib import sha256

from app.domain.access import Principal, Scope
from app.domain.times import to_ms
from app.store import keys
from app.store.connection import Client
from app.store.replicas import Replicas

PREFIX = "cphb"
KEY_BYTES = 32


class ApiKeys:
    """bootstrap: a key given by the environment, admin of tenant `default`; it is kept nowhere."""

    def __init__(self, redis: Client, replicas: Replicas, *, bootstrap: str | None = None) -> None:
        self._redis = redis
        self._replicas = replicas
        self._bootstrap = _digest(bootstrap) if bootstrap else None

    def create(self, tenant: str, scopes: frozenset[Scope], now: datetime, life: timedelta | None = None) -> str:
        """The key, `cphb_<id>_<secret>`; it cannot be had again."""
        id, secret = secrets.token_hex(6), secrets.token_urlsafe(KEY_BYTES)
        key = f"{PREFIX}_{id}_{secret}"
        fields = {"tenant": tenant, "scopes": " ".join(sorted(scopes)), "digest": _digest(key), "created": to_ms(now)}
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hset(keys.api_key(id), mapping=fields)
        if life:
            pipeline.expire(keys.api_key(id), life)
        pipeline.execute()
        self._replicas.execute(self._redis.pipeline(transaction=False).exists(keys.api_key(id)))
        return key

    def revoke(self, id: str) -> bool:
        """False if there is no such key."""
        [deleted] = self._replicas.execute(self._redis.pipeline(transaction=False).delete(keys.api_key(id)))
        return bool(deleted)

    def principal(self, key: str) -> Principal | None:
        """Who shows this key; None if it is no key of ours, or has expired."""
        digest = _digest(key)
        if self._bootstrap and hmac.compare_digest(self._bootstrap, digest):
            return Principal("default", frozenset({Scope.ADMIN}))
        prefix, _, rest = key.partition("_")
        id = rest.partition("_")[0]
        fields = self._redis.hgetall(keys.api_key(id)) if prefix == PREFIX else {}
        if not hmac.compare_digest(fields.get("digest", ""), digest):
            return None
        return Principal(fields["tenant"], frozenset(Scope(scope) for scope in fields["scopes"].split()))


def _digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()
