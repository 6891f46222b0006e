"""The token of a CPH project, shared by the workers: sealed, and got by one of them at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256

from redis.exceptions import LockError

from app.domain.errors import OperatorError, Unavailable
from app.store.encryption.cipher import Cipher
from app.store.engine import keys
from app.store.engine.client import Client

DIGEST_DIGITS = 16


class SharedTokens:
    """What app.cph.credential_cache.TokenCache asks for.

    whose: who logs in, and where; what another left under the project's name is none of ours.
    login: the longest that getting a token may take.
    """

    def __init__(self, redis: Client, sealer: Cipher, *, project: str, whose: str, login: timedelta) -> None:
        self._redis = redis
        self._sealer = sealer
        self._project = project
        self._whose = sha256(whose.encode()).hexdigest()[:DIGEST_DIGITS]
        self._lock_life_s = login.total_seconds() + 1

    def load(self) -> bytes | None:
        sealed = self._redis.get(keys.token(self._project))
        try:
            opened = self._sealer.decrypt(sealed, self._place) if sealed else ""
        except OperatorError:
            return None  # sealed with a key that is gone: a new token costs one login
        whose, _, dumped = opened.partition(" ")
        return dumped.encode() if whose == self._whose else None

    def save(self, dumped: bytes, life: timedelta) -> None:
        sealed = self._sealer.encrypt(f"{self._whose} {dumped.decode()}", self._place)
        self._redis.set(keys.token(self._project), sealed, px=max(life, timedelta(milliseconds=1)))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Whoever held it too long has lost it, so nobody waits for the dead."""
        lock = self._redis.lock(
            keys.lock(f"token:{self._project}"),
            timeout=self._lock_life_s,
            blocking_timeout=self._lock_life_s,
            raise_on_release_error=False,
        )
        try:
            with lock:
                yield
        except LockError as error:
            raise Unavailable("another worker is logging in at IAM") from error

    @property
    def _place(self) -> str:
        return f"token|{self._project}"
