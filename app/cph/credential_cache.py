"""Caches expiring credentials for all threads and workers, and renews them before they expire, never in a loop."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Generic, Protocol

from pydantic import TypeAdapter

from app.cph.cached_credentials import CachedCredential, IssuedCredential, Proof, load
from app.cph.credentials import NoCredentials
from app.transport.unreachable import Unreachable


class TokenCache(Protocol):
    """Storage shared by the workers of one CPH project. The dump is a secret. Raises Unavailable."""

    def load(self) -> bytes | None: ...

    def save(self, dumped: bytes, life: timedelta) -> None: ...

    def lock(self) -> AbstractContextManager[object]:
        """A lock across all workers. Its wait and its expiry are both longer than a login may take."""


class CredentialCache(Generic[Proof]):
    """Returns a valid token or key, called the proof. Thread-safe. Errors of `cache` are not caught.

    issuer: its name, for logs.
    issue: returns a new proof and its expiry; raises NoCredentials or Unreachable.
    """

    def __init__(
        self,
        issuer: str,
        issue: Callable[[], tuple[Proof, datetime]],
        *,
        adapter: TypeAdapter[CachedCredential[Proof]],
        cache: TokenCache,
        clock: Callable[[], datetime],
    ) -> None:
        self._issuer = issuer
        self._issue = issue
        self._adapter = adapter
        self._cache = cache
        self._clock = clock
        self._cached: CachedCredential[Proof] = CachedCredential()
        self._renewal = threading.Lock()

    @property
    def expires_at(self) -> datetime | None:
        """None until one is issued."""
        return self._cached.grant.expires_at if self._cached.grant else None

    def current(self) -> Proof:
        """Returns the valid proof, renewing it if due. Raises NoCredentials."""
        now = self._clock()
        cached = self._cached
        # While the old proof is valid, one thread renews it and the others do not wait.
        if not cached.up_to_date(now) and self._renewal.acquire(blocking=cached.usable(now) is None):
            try:
                cached = self._renew_if_due()
            finally:
                self._renewal.release()
        grant = cached.usable(now)
        if grant is None:
            raise NoCredentials(
                cached.failure,
                cached.quiet_until - now,
                refused=cached.refused,
                issuer_unreachable=cached.unreachable,
            )
        return grant.proof

    def renew_if(self, is_refused: Callable[[Proof], bool]) -> bool:
        """Renews the proof if it is the refused one. False: the issuer returned the same proof again."""
        with self._renewal:
            grant = self._renew_if_due(is_refused).grant
        return grant is None or not is_refused(grant.proof)

    def _renew_if_due(self, is_refused: Callable[[Proof], bool] = lambda _: False) -> CachedCredential[Proof]:
        """Checks again under each lock, as another thread or worker may have renewed it meanwhile."""
        cached = self._cached.without_refused(is_refused)
        if not cached.up_to_date(self._clock()):
            with self._cache.lock():
                cached = self._renew_shared(is_refused)
        self._cached = cached
        return cached

    def _renew_shared(self, is_refused: Callable[[Proof], bool]) -> CachedCredential[Proof]:
        cached = load(self._cache.load(), self._adapter).without_refused(is_refused)
        if not cached.up_to_date(self._clock()):
            cached = self._renewed(cached)
            self._cache.save(self._adapter.dump_json(cached), cached.time_to_live(self._clock()))
        return cached

    def _renewed(self, cached: CachedCredential[Proof]) -> CachedCredential[Proof]:
        try:
            return CachedCredential(self._issued())
        except NoCredentials as error:
            failure = error
        except Unreachable as error:
            failure = NoCredentials(str(error), issuer_unreachable=True)
        quiet_until = self._clock() + failure.pause
        reason = f"{self._issuer}: {failure}"
        return replace(
            cached,
            failure=reason,
            quiet_until=quiet_until,
            refused=failure.refused,
            unreachable=failure.issuer_unreachable,
        )

    def _issued(self) -> IssuedCredential[Proof]:
        proof, expires_at = self._issue()
        now = self._clock()
        if expires_at <= now:
            raise NoCredentials("the issued credentials have already expired: compare the clocks")
        return IssuedCredential(proof, issued_at=now, expires_at=expires_at)
