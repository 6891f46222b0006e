"""Idempotency-Keys: the first answer is kept, sealed, to be given again."""

from dataclasses import dataclass, replace
from datetime import timedelta

from app.store.encryption.cipher import Sealer
from app.store.engine import keys
from app.store.engine.connection import BRIEF, Client
from app.store.engine.replicas import Replicas

LIFE = timedelta(hours=24)
UNDER_WAY = ""  # in place of the answer
NOTHING = ("", "", 0)  # to be kept, for a script


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


class Answers:
    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def arguments(self, tenant: str, idempotency: Idempotency | None) -> tuple[str, str, int]:
        """For a script: the key to keep it under, the value, and for how many seconds."""
        if idempotency is None:
            return NOTHING
        text = f"{idempotency.request_digest} {idempotency.answer}"
        sealed = self._sealer.seal(text, place(tenant, idempotency.key_digest))
        return self.key(tenant, idempotency), sealed, int(LIFE.total_seconds())

    def key(self, tenant: str, idempotency: Idempotency | None) -> str:
        """'' for nothing."""
        return keys.idempotency(tenant, idempotency.key_digest) if idempotency else ""

    def repeated(self, tenant: str, idempotency: Idempotency, earlier: str) -> Repeated:
        text = self._sealer.open(earlier, place(tenant, idempotency.key_digest))
        digest, answer = text.split(" ", 1)
        return Repeated(answer if digest == idempotency.request_digest else None)


class Claims:
    """For what cannot be done and kept in one step. A claim ends by itself, in case that its process does."""

    def __init__(self, redis: Client, replicas: Replicas, sealer: Sealer, *, life: timedelta) -> None:
        self._redis = redis
        self._replicas = replicas
        self._answers = Answers(sealer)
        self._life = life

    def claim(self, tenant: str, idempotency: Idempotency) -> Repeated | None:
        """None if it is the caller's to answer now: `keep` or `release` follows."""
        key, sealed, _ = self._answers.arguments(tenant, replace(idempotency, answer=UNDER_WAY))
        while not self._redis.set(key, sealed, nx=True, px=self._life):
            pipeline = self._redis.pipeline(transaction=False).get(key)
            [earlier] = self._replicas.execute(pipeline)
            if earlier:  # else it has ended just now
                return self._answers.repeated(tenant, idempotency, earlier)
        return None

    def keep(self, tenant: str, idempotency: Idempotency) -> None:
        key, sealed, life_s = self._answers.arguments(tenant, idempotency)
        self._replicas.execute(self._redis.pipeline(transaction=False).set(key, sealed, ex=life_s))

    def release(self, tenant: str, idempotency: Idempotency) -> None:
        # What has failed may be Redis; and a claim ends by itself.
        self._redis.with_tries(BRIEF).delete(self._answers.key(tenant, idempotency))


def place(tenant: str, key_digest: str) -> str:
    """Where it is sealed for."""
    return f"{tenant}|{key_digest}"
