"""API keys: shown once, stored as a digest, deleted some time after they have expired."""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from app.domain.access import Principal, Scope
from app.domain.times import from_ms, to_ms
from app.store.engine import keys
from app.store.engine.client import Client
from app.store.engine.scripts import ScriptCall, Scripts
from app.store.engine.unreadable import moment, nearest, whole

PREFIX = "cphb"
KEY_BYTES = 32
BOOTSTRAP = "bootstrap"
# A valid key is cached for this long; in another process, a revoked key stays valid for at most this long.
CACHE_S = 2.0
MAX_CACHED = 10_000
LONG_AGO = from_ms(0)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret."""

    id: str
    tenant: str
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    def has_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class ApiKeys:
    """bootstrap: a key from the environment, admin of tenant `default`, never stored. monotonic: clock in seconds."""

    def __init__(
        self,
        scripts: Scripts,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        *,
        bootstrap: str | None = None,
    ) -> None:
        self._scripts = scripts
        self._redis: Client = scripts.redis
        self._clock = clock
        self._monotonic = monotonic
        self._bootstrap = _digest(bootstrap) if bootstrap else None
        self._cache: dict[str, tuple[float, Principal]] = {}

    def create(
        self, tenant: str, scopes: frozenset[Scope], now: datetime, life: timedelta | None = None, *, name: str = ""
    ) -> str:
        """Creates a key; returns `cphb_<id>_<secret>`, which cannot be retrieved later."""
        id, key, digest = _generate()
        expires = to_ms(now + life) if life else ""
        self._scripts.run_replicated(
            ScriptCall(
                "create_key",
                id=id,
                tenant=tenant,
                scopes=" ".join(sorted(scopes)),
                digest=digest,
                now=to_ms(now),
                expires=expires,
                name=name,
                replaces="",
                replaced_expires=0,
            )
        )
        return key

    def rotate(self, tenant: str, id: str, now: datetime, overlap: timedelta) -> str | None:
        """Creates a key with the same scopes, name and lifetime; the old key expires after `overlap`.

        Returns the new key, None if the tenant has no key with this id.
        """
        old = self.get(tenant, id)
        if old is None:
            return None
        new, key, digest = _generate()
        expires = to_ms(now + (old.expires_at - old.created_at)) if old.expires_at else ""
        done = self._scripts.run_replicated(
            ScriptCall(
                "create_key",
                id=new,
                tenant=tenant,
                scopes=" ".join(sorted(old.scopes)),
                digest=digest,
                now=to_ms(now),
                expires=expires,
                name=old.name,
                replaces=id,
                replaced_expires=to_ms(now + overlap) if overlap else 0,
            )
        )
        self._cache.clear()
        return key if done else None

    def revoke(self, id: str, tenant: str | None = None) -> bool:
        """Deletes a key; returns False if there is none. tenant: its required owner; None for any.

        Returns True if it was there before: a second try, after a lost reply, deletes nothing.
        """
        owner = self.owner(id)
        if owner is None or tenant not in (None, owner):
            return False
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.delete(keys.api_key(id))
        pipeline.zrem(keys.api_keys(owner), id)  # if this fails, the next `page` does it
        self._cache.clear()
        self._scripts.replicas.execute(pipeline)
        return True

    def owner(self, id: str) -> str | None:
        """Returns the tenant that owns the key, which may have expired."""
        owner: str | None = self._redis.hget(keys.api_key(id), "tenant")
        return owner

    def get(self, tenant: str, id: str) -> ApiKey | None:
        key = self._valid(id, self._redis.hgetall(keys.api_key(id)))
        return key if key and key.tenant == tenant else None

    def page(self, tenant: str, *, limit: int, cursor: str | None) -> tuple[list[ApiKey], str | None]:
        """Returns keys, newest first, and the cursor of the next page. Reads all of the tenant's few keys."""
        ids = self._redis.zrange(keys.api_keys(tenant), 0, -1)
        pipeline = self._redis.pipeline(transaction=False)
        for id in ids:
            pipeline.hgetall(keys.api_key(id))
        found = []
        for id, fields in zip(ids, pipeline.execute(), strict=True):
            if key := self._valid(id, fields):
                found.append(key)
            elif not fields:
                self._redis.zrem(keys.api_keys(tenant), id)
        left = sorted((key for key in found if cursor is None or _sort_key(key) < cursor), key=_sort_key, reverse=True)
        return left[:limit], _sort_key(left[limit - 1]) if len(left) > limit else None

    def principal(self, key: str, *, cached: bool = True) -> Principal | None:
        """Returns the owner of the key; None if it is unknown, expired or revoked.

        cached: accept a key that was valid less than CACHE_S ago.
        """
        digest = _digest(key)
        if self._bootstrap and hmac.compare_digest(self._bootstrap, digest):
            return Principal("default", frozenset({Scope.ADMIN}), BOOTSTRAP)
        until, known = self._cache.get(digest, (0.0, None))
        if cached and self._monotonic() < until:
            return known
        return self._look_up(key, digest)

    def _look_up(self, key: str, digest: str) -> Principal | None:
        prefix, _, rest = key.partition("_")
        id = rest.partition("_")[0]
        fields = self._redis.hgetall(keys.api_key(id)) if prefix == PREFIX else {}
        valid = self._valid(id, fields)
        if valid is None or not hmac.compare_digest(fields.get("digest", ""), digest):
            self._cache.pop(digest, None)
            return None
        self._scripts.run(ScriptCall("use_key", id=id, now=to_ms(self._clock())))
        found = Principal(valid.tenant, valid.scopes, id)
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[digest] = (self._monotonic() + CACHE_S, found)
        return found

    def _valid(self, id: str, fields: dict[str, str]) -> ApiKey | None:
        """Returns None if there is no such key, or if it has expired by the deployment's time."""
        key = _key(id, fields) if fields.get("tenant") else None
        return key if key and not key.has_expired(self._clock()) else None


def _generate() -> tuple[str, str, str]:
    """Returns id, key and digest of a new key."""
    id = secrets.token_hex(6)
    key = f"{PREFIX}_{id}_{secrets.token_urlsafe(KEY_BYTES)}"
    return id, key, _digest(key)


def key_id(key: str) -> str:
    return key.split("_")[1]


def _digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def _scopes(fields: dict[str, str]) -> frozenset[Scope]:
    names = fields.get("scopes", "").split()
    return frozenset(scope for scope in Scope if scope.value in names)


def _sort_key(key: ApiKey) -> str:
    return f"{to_ms(key.created_at):013d}:{key.id}"


def _key(id: str, fields: dict[str, str]) -> ApiKey:
    expires, used = fields.get("expires"), fields.get("used")
    return ApiKey(
        id=id,
        tenant=fields["tenant"],
        name=fields.get("name", ""),
        scopes=_scopes(fields),
        created_at=nearest(whole(fields.get("created"), 0)),
        expires_at=None if expires is None else moment(expires) or LONG_AGO,  # long ago if it is damaged
        last_used_at=moment(used),
    )
