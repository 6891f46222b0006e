"""May we? What CloudEvents has senders ask a receiver first, so that nobody can be flooded by registering him.

Source: "HTTP 1.1 Web Hooks for Event Delivery", 1.0.2, 4: abuse protection.
"""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from app.domain.verdict import Verdict, by_status
from app.transport.client import Reply
from app.transport.stopwatch import Stopwatch
from app.webhooks.callback import Subscriber
from app.webhooks.sender import Attempt, Sender, failed

REQUESTED = 600  # callbacks a minute
ANY = "*"
NUMBER = re.compile(r"[0-9]{1,9}")


class Memory(Protocol):
    def is_known(self, tenant: str, url: str) -> bool: ...

    def remember(self, tenant: str, url: str, lane: str, rate: float | None) -> None: ...


class Handshake:
    """origin: who asks, as a receiver sees it."""

    def __init__(self, sender: Sender, memory: Memory, origin: str) -> None:
        self._sender = sender
        self._memory = memory
        self._origin = origin

    def refusal(
        self, subscriber: Subscriber, lane: str | None, deadline: timedelta, watch: Stopwatch
    ) -> Attempt | None:
        """None if callbacks may go there: it has been asked, now or within a day. The deadline is the watch's.

        lane: keeps to what is allowed from now on; None for a test, of which nothing is kept.
        """
        url, tenant = subscriber.wishes.url, subscriber.tenant
        if self._memory.is_known(tenant, url):
            return None
        asking = {"WebHook-Request-Origin": self._origin, "WebHook-Request-Rate": str(REQUESTED)}
        reply = self._sender.options(
            url, tenant=tenant, headers={**subscriber.headers, **asking}, deadline=deadline, watch=watch
        )
        if isinstance(reply, Attempt):
            return reply
        if words := self._no(reply):
            return _refused(reply, words, watch)
        if lane:
            self._memory.remember(tenant, url, lane, _rate(reply.headers.get("webhook-allowed-rate", ANY)))
        return None

    def _no(self, reply: Reply) -> str | None:
        """Why callbacks may not go there, in words."""
        allowed = reply.headers.get("webhook-allowed-origin")
        if by_status(reply.status) is not Verdict.DELIVERED:
            return f"the receiver answers {reply.status} to the handshake of CloudEvents (OPTIONS)"
        if allowed is None:
            return "the receiver does not allow CloudEvents: its answer to OPTIONS lacks WebHook-Allowed-Origin"
        if allowed.strip().lower() not in (ANY, self._origin.lower()):
            return f"the receiver does not allow CloudEvents from {self._origin}, but from others"
        return None


def _refused(reply: Reply, words: str, watch: Stopwatch) -> Attempt:
    """Who is busy is asked again; anything else is for a person to mend."""
    busy = by_status(reply.status) is Verdict.RETRY
    attempt = failed(Verdict.RETRY if busy else Verdict.REFUSED, words, watch)
    return replace(attempt, status_code=reply.status)


def _rate(allowed: str) -> float | None:
    """Callbacks a second; None for as many as there are, which is also what makes no sense stands for."""
    text = allowed.strip()
    return int(text) / 60 if NUMBER.fullmatch(text) and int(text) > 0 else None
