"""URLs whose receivers answered 410, "never again": known by a keyed digest, for as long as what has ended is kept."""

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
    def __init__(self, redis: Client, sealer: Cipher, *, retention: timedelta) -> None:
        self._redis = redis
        self._sealer = sealer
        self._keep_s = int(retention.total_seconds())

    def add(self, tenant: str, url: str, now: datetime) -> ScriptCall:
        return self._record(tenant, url, to_ms(now))

    def remove(self, tenant: str, url: str) -> ScriptCall:
        return self._record(tenant, url, "")

    def are_gone(self, tenant: str, registrations: Sequence[Registration]) -> list[bool]:
        """Which of them have a URL that answered 410 after they were made. Those made later may try."""
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
        return self._sealer.digests(f"{tenant}|{url}")
