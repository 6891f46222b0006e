"""Idempotency-Keys: the first answer is kept, sealed, to be given again."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from app.store.encryption.cipher import Cipher
from app.store.engine import keys
from app.store.engine.client import Client
from app.store.engine.connection import NO_RETRY
from app.store.engine.replicas import Replicas

LIFE = timedelta(hours=24)
UNDER_WAY = ""  # in place of the answer
NOTHING: Mapping[str, str | int] = {"idempotency_key": "", "idempotency_record": "", "idempotency_life_s": 0}


@dataclass(frozen=True, slots=True)
class Idempotency:
    """What an Idempotency-Key stands for: the digests of the key and of the request, and the answer to give again."""

    key_digest: str
    request_digest: str
    answer: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """The key had been used. `answer` is the first one, UNDER_WAY, or None if it belongs to another request."""

    answer: str | None


class StoredResponses:
    def __init__(self, sealer: Cipher) -> None:
        self._sealer = sealer

    def arguments(self, tenant: str, idempotency: Idempotency | None) -> Mapping[str, str | int]:
        """The arguments of scripts that store an answer, or NOTHING."""
        if idempotency is None:
            return NOTHING
        return {
            "idempotency_key": self.key(tenant, idempotency),
            "idempotency_record": self.record(tenant, idempotency),
            "idempotency_life_s": int(LIFE.total_seconds()),
        }

    @staticmethod
    def key(tenant: str, idempotency: Idempotency | None) -> str:
        """'' for none."""
        return keys.idempotency(tenant, idempotency.key_digest) if idempotency else ""

    def record(self, tenant: str, idempotency: Idempotency) -> str:
        text = f"{idempotency.request_digest} {idempotency.answer}"
        return self._sealer.encrypt(text, context(tenant, idempotency.key_digest))

    def repeated(self, tenant: str, idempotency: Idempotency, earlier: str) -> Repeated:
        text = self._sealer.decrypt(earlier, context(tenant, idempotency.key_digest))
        digest, answer = text.split(" ", 1)
        return Repeated(answer if digest == idempotency.request_digest else None)


class Claims:
    """For what cannot be done and kept in one step. A claim ends by itself, in case that its process does."""

    def __init__(self, redis: Client, replicas: Replicas, sealer: Cipher, *, life: timedelta) -> None:
        self._redis = redis
        self._replicas = replicas
        self._answers = StoredResponses(sealer)
        self._life = life

    def claim(self, tenant: str, idempotency: Idempotency) -> Repeated | None:
        """None if it is the caller's to answer now: `keep` or `release` follows."""
        key = self._answers.key(tenant, idempotency)
        sealed = self._answers.record(tenant, replace(idempotency, answer=UNDER_WAY))
        while not self._redis.set(key, sealed, nx=True, px=self._life):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.get(key)
            [earlier] = self._replicas.execute(pipeline)
            if earlier:  # else it has ended just now
                return self._answers.repeated(tenant, idempotency, earlier)
        return None

    def keep(self, tenant: str, idempotency: Idempotency) -> None:
        key = self._answers.key(tenant, idempotency)
        record = self._answers.record(tenant, idempotency)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(key, record, ex=LIFE)
        self._replicas.execute(pipeline)

    def release(self, tenant: str, idempotency: Idempotency) -> None:
        # What has failed may be Redis; and a claim ends by itself.
        self._redis.with_tries(NO_RETRY).delete(self._answers.key(tenant, idempotency))


def context(tenant: str, key_digest: str) -> str:
    """Where it is sealed for."""
    return f"{tenant}|{key_digest}"
