"""Idempotency-Keys: the first response is stored, encrypted, and replayed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from app.domain.times import LEAP_MARGIN
from app.store.encryption.cipher import Cipher
from app.store.engine import keys
from app.store.engine.client import Client
from app.store.engine.connection import NO_RETRY
from app.store.engine.replicas import Replicas

LIFE = timedelta(hours=24) + LEAP_MARGIN
UNDER_WAY = ""  # instead of a response: the first request is still in progress
NOTHING: Mapping[str, str | int] = {"idempotency_key": "", "idempotency_record": "", "idempotency_life_s": 0}


@dataclass(frozen=True, slots=True)
class Idempotency:
    """The digests of an Idempotency-Key and of its request, and the response to replay."""

    key_digest: str
    request_digest: str
    answer: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """The key was used before. answer: the first response, UNDER_WAY, or None if the key belongs to another request."""

    answer: str | None


class StoredResponses:
    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher

    def arguments(self, tenant: str, idempotency: Idempotency | None) -> Mapping[str, str | int]:
        """Returns the arguments for scripts that store a response, or NOTHING."""
        if idempotency is None:
            return NOTHING
        return {
            "idempotency_key": self.key(tenant, idempotency),
            "idempotency_record": self.record(tenant, idempotency),
            "idempotency_life_s": int(LIFE.total_seconds()),
        }

    @staticmethod
    def key(tenant: str, idempotency: Idempotency | None) -> str:
        """Returns the Redis key; '' for no idempotency."""
        return keys.idempotency(tenant, idempotency.key_digest) if idempotency else ""

    def record(self, tenant: str, idempotency: Idempotency) -> str:
        text = f"{idempotency.request_digest} {idempotency.answer}"
        return self._cipher.encrypt(text, context(tenant, idempotency.key_digest))

    def repeated(self, tenant: str, idempotency: Idempotency, earlier: str) -> Repeated:
        text = self._cipher.decrypt(earlier, context(tenant, idempotency.key_digest))
        digest, answer = text.split(" ", 1)
        return Repeated(answer if digest == idempotency.request_digest else None)


class IdempotencyClaims:
    """Claims Idempotency-Keys for actions that cannot be done and stored in one step.

    life: after this time a claim expires, in case its process has died.
    """

    def __init__(self, redis: Client, replicas: Replicas, cipher: Cipher, *, life: timedelta) -> None:
        self._redis = redis
        self._replicas = replicas
        self._answers = StoredResponses(cipher)
        self._life = life

    def claim(self, tenant: str, idempotency: Idempotency) -> Repeated | None:
        """Returns None if the caller now has to act, and then call `keep` or `release`; else the earlier use."""
        key = self._answers.key(tenant, idempotency)
        record = self._answers.record(tenant, replace(idempotency, answer=UNDER_WAY))
        while not self._redis.set(key, record, nx=True, px=self._life):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.get(key)
            [earlier] = self._replicas.execute(pipeline)
            if earlier:  # else it has just expired
                repeated = self._answers.repeated(tenant, idempotency, earlier)
                if repeated.answer == UNDER_WAY:  # of a process that has died, perhaps before Redis' clock leapt back
                    self._redis.pexpire(key, self._life, lt=True)
                return repeated
        return None

    def keep(self, tenant: str, idempotency: Idempotency) -> None:
        key = self._answers.key(tenant, idempotency)
        record = self._answers.record(tenant, idempotency)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(key, record, ex=LIFE)
        self._replicas.execute(pipeline)

    def release(self, tenant: str, idempotency: Idempotency) -> None:
        # No retry: the action may have failed because Redis is unavailable, and a claim expires by itself.
        self._redis.with_retries(NO_RETRY).delete(self._answers.key(tenant, idempotency))


def context(tenant: str, key_digest: str) -> str:
    """Returns the context to which a record's encryption is bound."""
    return f"{tenant}|{key_digest}"
