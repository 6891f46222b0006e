"""URLs that answered 410 (gone), stored as keyed digests for the retention time."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import chain

from app.domain.registration import Registration
from app.domain.times import to_ms
from app.store.encryption.cipher import Cipher
from app.store.engine import keys
from app.store.engine.client import Client
from app.store.engine.scripts import ScriptCall


class GoneUrls:
    def __init__(self, redis: Client, cipher: Cipher, *, retention: timedelta) -> None:
        self._redis = redis
        self._cipher = cipher
        self._keep_s = int(retention.total_seconds())

    def add(self, tenant: str, url: str, now: datetime) -> ScriptCall:
        return self._record(tenant, url, to_ms(now))

    def remove(self, tenant: str, url: str) -> ScriptCall:
        return self._record(tenant, url, "")

    def are_gone(self, tenant: str, registrations: Sequence[Registration]) -> list[bool]:
        """Returns for each registration whether its URL has answered 410 since it was created. Later ones may try."""
        if not registrations:
            return []
        digests = [self._digests(tenant, each.callback_url) for each in registrations]
        found = iter(self._redis.zmscore(keys.gone(tenant), list(chain.from_iterable(digests))))
        latest = [max(next(found) or 0 for _ in own) for own in digests]
        return [gone >= to_ms(each.created_at) for gone, each in zip(latest, registrations, strict=True)]

    def _record(self, tenant: str, url: str, now: int | str) -> ScriptCall:
        digests = self._digests(tenant, url)
        return ScriptCall("record_gone_url", tenant=tenant, now=now, keep_s=self._keep_s, digests=digests)

    def _digests(self, tenant: str, url: str) -> tuple[str, ...]:
        return self._cipher.digests(f"{tenant}|{url}")
