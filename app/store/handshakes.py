"""Receivers of CloudEvents that allow them: remembered for a day, and how many they allow."""

from datetime import timedelta

from app.store.agenda import Agenda
from app.store.encryption.cipher import Cipher
from app.store.engine import keys
from app.store.engine.scripts import Scripts

LIFE = timedelta(days=1)


class Handshakes:
    """agenda: whose lanes keep to what is allowed."""

    def __init__(self, scripts: Scripts, sealer: Cipher, agenda: Agenda) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._sealer = sealer
        self._agenda = agenda

    def is_known(self, tenant: str, url: str) -> bool:
        return any(self._redis.mget([self._key(tenant, digest) for digest in self._digests(tenant, url)]))

    def remember(self, tenant: str, url: str, lane: str, rate: float | None) -> None:
        """rate: a second; None for as many as there are."""
        self._scripts.run(self._agenda.set_rate(lane, rate))
        first, *_ = self._digests(tenant, url)
        self._redis.set(self._key(tenant, first), "1", ex=LIFE)

    def _digests(self, tenant: str, url: str) -> tuple[str, ...]:
        return self._sealer.digests(f"{tenant}|{url}")

    @staticmethod
    def _key(tenant: str, digest: str) -> str:
        return keys.handshake(tenant, digest)
