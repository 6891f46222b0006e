"""The IAM token of a CPH project, shared by the workers: encrypted, and fetched by one worker at a time."""

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
    """Implements app.cph.credential_cache.TokenCache.

    whose: identity and IAM endpoint of the login; a token stored for another one is ignored. login: timeout of a login.
    """

    def __init__(self, redis: Client, cipher: Cipher, *, project: str, whose: str, login: timedelta) -> None:
        self._redis = redis
        self._cipher = cipher
        self._project = project
        self._owner_digest = sha256(whose.encode()).hexdigest()[:DIGEST_DIGITS]
        self._lock_life_s = login.total_seconds() + 1

    def load(self) -> bytes | None:
        encrypted = self._redis.get(keys.token(self._project))
        try:
            decrypted = self._cipher.decrypt(encrypted, self._context) if encrypted else ""
        except OperatorError:
            return None  # its key was removed: a new token costs one login
        whose, _, dumped = decrypted.partition(" ")
        return dumped.encode() if whose == self._owner_digest else None

    def save(self, dumped: bytes, life: timedelta) -> None:
        encrypted = self._cipher.encrypt(f"{self._owner_digest} {dumped.decode()}", self._context)
        self._redis.set(keys.token(self._project), encrypted, px=max(life, timedelta(milliseconds=1)))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Locks the login. The lock expires, in case its holder crashes; raises Unavailable after waiting as long."""
        name = keys.lock(f"token:{self._project}")
        lock = self._redis.lock(
            name,
            timeout=self._lock_life_s,
            blocking_timeout=self._lock_life_s,
            raise_on_release_error=False,
        )
        try:
            with lock:
                yield
        except LockError as error:
            # If Redis' clock has leapt back since, a lock of a crashed worker would live on for as long.
            self._redis.pexpire(name, timedelta(seconds=self._lock_life_s), lt=True)
            raise Unavailable("another worker is logging in at IAM") from error

    @property
    def _context(self) -> str:
        return f"token|{self._project}"
