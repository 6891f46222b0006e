"""CloudEvents receivers that have allowed requests: remembered for a day, with their rate limit."""

from datetime import timedelta

from app.store.agenda import Agenda
from app.store.encryption.cipher import Cipher
from app.store.engine import keys
from app.store.engine.scripts import Scripts

LIFE = timedelta(days=1)


class Handshakes:
    """agenda: its lanes apply the rate limits."""

    def __init__(self, scripts: Scripts, cipher: Cipher, agenda: Agenda) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._cipher = cipher
        self._agenda = agenda

    def is_known(self, tenant: str, url: str) -> bool:
        return any(self._redis.mget([self._key(tenant, digest) for digest in self._digests(tenant, url)]))

    def remember(self, tenant: str, url: str, lane: str, rate: float | None) -> None:
        """rate: requests per second; None for unlimited."""
        self._scripts.run(self._agenda.set_rate(lane, rate))
        first, *_ = self._digests(tenant, url)
        self._redis.set(self._key(tenant, first), "1", ex=LIFE)

    def _digests(self, tenant: str, url: str) -> tuple[str, ...]:
        return self._cipher.digests(f"{tenant}|{url}")

    @staticmethod
    def _key(tenant: str, digest: str) -> str:
        return keys.handshake(tenant, digest)
