"""Credentials that end: got once for all threads and workers, renewed ahead of their end, and never in a loop."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Generic, Protocol

from pydantic import TypeAdapter

from app.cph.cached_credentials import Held, IssuedCredential, Proof, load
from app.cph.credentials import NoCredentials
from app.transport.unreachable import Unreachable


class TokenCache(Protocol):
    """What the workers of one CPH project share. What is dumped is a secret. Raises Unavailable when it is away."""

    def load(self) -> bytes | None: ...

    def save(self, dumped: bytes, life: timedelta) -> None: ...

    def lock(self) -> AbstractContextManager[object]:
        """One holder among all workers. It waits for longer than a login may take, and lasts as long."""


class Renewing(Generic[Proof]):
    """The proof that is good now. What the cache raises passes through.

    issuer: its name, for logs.
    issue: gives a new proof and its end; raises NoCredentials or Unreachable.
    """

    def __init__(
        self,
        issuer: str,
        issue: Callable[[], tuple[Proof, datetime]],
        *,
        held: TypeAdapter[Held[Proof]],
        cache: TokenCache,
        clock: Callable[[], datetime],
    ) -> None:
        self._issuer = issuer
        self._issue = issue
        self._shape = held
        self._cache = cache
        self._clock = clock
        self._held: Held[Proof] = Held()
        self._settling = threading.Lock()

    @property
    def expires_at(self) -> datetime | None:
        """None before there is one."""
        return self._held.grant.expires_at if self._held.grant else None

    def proof(self) -> Proof:
        """Raises NoCredentials."""
        now = self._clock()
        held = self._held
        # While the old proof serves, one thread renews it and the others go on.
        if not held.settled(now) and self._settling.acquire(blocking=held.usable(now) is None):
            try:
                held = self._settle()
            finally:
                self._settling.release()
        grant = held.usable(now)
        if grant is None:
            raise NoCredentials(held.failure, held.quiet_until - now, refused=held.refused)
        return grant.proof

    def renew(self, refused: Callable[[Proof], bool]) -> bool:
        """Renews the proof if it is the refused one. False: the issuer gave the same again."""
        with self._settling:
            grant = self._settle(refused).grant
        return grant is None or not refused(grant.proof)

    def _settle(self, refused: Callable[[Proof], bool] = lambda _: False) -> Held[Proof]:
        """Looks again, as others may have been here while we waited: first in this process, then in the cache."""
        held = self._held.without(refused)
        if not held.settled(self._clock()):
            with self._cache.lock():
                held = self._settle_for_all(refused)
        self._held = held
        return held

    def _settle_for_all(self, refused: Callable[[Proof], bool]) -> Held[Proof]:
        held = load(self._cache.load(), self._shape).without(refused)
        if not held.settled(self._clock()):
            held = self._renewed(held)
            self._cache.save(self._shape.dump_json(held), held.life(self._clock()))
        return held

    def _renewed(self, held: Held[Proof]) -> Held[Proof]:
        try:
            return Held(self._issued())
        except NoCredentials as error:
            failure = error
        except Unreachable as error:
            failure = NoCredentials(str(error))
        quiet_until = self._clock() + failure.pause
        words = f"{self._issuer}: {failure}"
        return replace(held, failure=words, quiet_until=quiet_until, refused=failure.refused)

    def _issued(self) -> IssuedCredential[Proof]:
        proof, expires_at = self._issue()
        now = self._clock()
        if expires_at <= now:
            raise NoCredentials("what it gives has ended already: compare the clocks")
        return IssuedCredential(proof, issued_at=now, expires_at=expires_at)
