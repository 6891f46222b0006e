"""Tokens from IAM for a user and password: one login for all threads and workers, and never a loop of them."""

import json
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from app.cph.credentials import AUTH_HEADER, NoCredentials, Request
from app.cph.reading import read_object, text
from app.cph.refusal import read_refusal
from app.cph.tokens import Held, Token, dump, load
from app.domain.times import parse_rfc3339
from app.transport.client import Reply, Transport
from app.transport.unreachable import Unreachable

FAILED_PAUSE = timedelta(minutes=1)
# IAM locks a user after five failed logins in a quarter of an hour, if the account keeps to the default.
LOCKOUT_PAUSE = timedelta(minutes=5)

HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
TOKEN_VALUE = re.compile(r"[!-~]+")  # what a header can carry


class TokenCache(Protocol):
    """What the workers of one CPH project share. What is dumped is a secret. Raises Unavailable when it is away."""

    def load(self) -> bytes | None: ...

    def save(self, dumped: bytes, life: timedelta) -> None: ...

    def lock(self) -> AbstractContextManager[object]:
        """One holder among all workers. It waits for longer than a login may take, and lasts as long."""


def iam_endpoint(region: str) -> str:
    return f"https://iam.{region}.myhuaweicloud.com"


class IamPassword:
    """Credentials. What the cache raises passes through."""

    def __init__(
        self,
        *,
        transport: Transport,
        endpoint: str,
        user: str,
        password: str,
        domain: str,
        project_id: str,
        cache: TokenCache,
        clock: Callable[[], datetime],
        deadline: timedelta,
    ) -> None:
        self._transport = transport
        self._url = f"{endpoint.rstrip('/')}/v3/auth/tokens?nocatalog=true"
        self._body = _login(user, password, domain, project_id)
        self._password = password
        self._cache = cache
        self._clock = clock
        self._deadline = deadline
        self._held = Held()
        self._settling = threading.Lock()

    def authorise(self, request: Request) -> Mapping[str, str]:
        return {**request.headers, AUTH_HEADER: self._token()}

    def refused(self, headers: Mapping[str, str]) -> None:
        """Renews the token, unless somebody has done so since these headers were made."""
        with self._settling:
            self._settle(refused=headers[AUTH_HEADER])

    @property
    def expires_at(self) -> datetime | None:
        token = self._held.token
        return token.expires_at if token else None

    def _token(self) -> str:
        now = self._clock()
        held = self._held
        # While the old token serves, one thread renews it and the others go on.
        if not held.settled(now) and self._settling.acquire(blocking=held.usable(now) is None):
            try:
                held = self._settle()
            finally:
                self._settling.release()
        token = held.usable(now)
        if token is None:
            raise NoCredentials(held.failure, held.quiet_until - now)
        return token.value

    def _settle(self, refused: str | None = None) -> Held:
        """Looks again, as others may have been here while we waited: first in this process, then in the cache."""
        held = self._held.without(refused)
        if not held.settled(self._clock()):
            with self._cache.lock():
                held = self._settle_for_all(refused)
        self._held = held
        return held

    def _settle_for_all(self, refused: str | None) -> Held:
        held = load(self._cache.load()).without(refused)
        if not held.settled(self._clock()):
            held = self._renewed(held)
            self._cache.save(dump(held), held.life(self._clock()))
        return held

    def _renewed(self, held: Held) -> Held:
        try:
            return Held(self._log_in())
        except NoCredentials as error:
            return replace(held, failure=str(error), quiet_until=self._clock() + error.pause)

    def _log_in(self) -> Token:
        try:
            reply = self._transport.send("POST", self._url, headers=HEADERS, body=self._body, deadline=self._deadline)
        except Unreachable as error:
            raise NoCredentials(f"IAM: {error}", FAILED_PAUSE) from error
        if reply.status == 201:
            return _read_token(reply, self._clock())
        refusal = read_refusal(reply, secrets=[self._password])
        pause = LOCKOUT_PAUSE if reply.status in (401, 403) else refusal.pause or FAILED_PAUSE
        raise NoCredentials(f"IAM: {refusal}", pause)


def _login(user: str, password: str, domain: str, project_id: str) -> bytes:
    person = {"name": user, "password": password, "domain": {"name": domain}}
    identity = {"methods": ["password"], "password": {"user": person}}
    return json.dumps({"auth": {"identity": identity, "scope": {"project": {"id": project_id}}}}).encode()


def _read_token(reply: Reply, now: datetime) -> Token:
    about = read_object(reply).get("token")
    expires_at = parse_rfc3339(text(about.get("expires_at"))) if isinstance(about, dict) else None
    value = reply.headers.get("X-Subject-Token", "")
    if expires_at is None or not TOKEN_VALUE.fullmatch(value):
        raise NoCredentials("IAM: the answer holds no token", FAILED_PAUSE)
    if expires_at <= now:
        raise NoCredentials("IAM: the token has ended already: compare the clocks", FAILED_PAUSE)
    return Token(value, issued_at=now, expires_at=expires_at)
