"""The CloudEvents handshake: asks a receiver for permission before callbacks, so that no third party is flooded.

Source: "HTTP 1.1 Web Hooks for Event Delivery", 1.0.2, 4: abuse protection.
"""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from app.domain.verdict import Verdict, by_status
from app.transport.client import Reply
from app.transport.stopwatch import Stopwatch
from app.webhooks import redirects
from app.webhooks.callback import Subscriber
from app.webhooks.sender import Attempt, Sender, failed

REQUESTED = 600  # callbacks per minute
ANY = "*"
NUMBER = re.compile(r"[0-9]{1,9}")


class Memory(Protocol):
    def is_known(self, tenant: str, url: str) -> bool: ...

    def remember(self, tenant: str, url: str, lane: str, rate: float | None) -> None: ...


class Handshake:
    """Asks receivers for permission. origin: the sender's name, sent as WebHook-Request-Origin."""

    def __init__(self, sender: Sender, memory: Memory, origin: str) -> None:
        self._sender = sender
        self._memory = memory
        self._origin = origin

    def refusal(
        self, subscriber: Subscriber, lane: str | None, deadline: timedelta, stopwatch: Stopwatch
    ) -> Attempt | None:
        """Returns None if the receiver allows callbacks, now or within the last day; else the failed attempt.

        lane: gets the rate limit that the receiver sets; None for a callback test, whose result is not stored.
        deadline: counts from the start of `stopwatch`.
        """
        url, tenant = subscriber.options.url, subscriber.tenant
        if self._memory.is_known(tenant, url):
            return None
        headers = {**subscriber.headers, "WebHook-Request-Origin": self._origin, "WebHook-Request-Rate": str(REQUESTED)}
        reply = self._sender.options(url, tenant=tenant, headers=headers, deadline=deadline, stopwatch=stopwatch)
        if isinstance(reply, Attempt):
            return reply
        if reason := self._refusal_reason(reply, url):
            return _refused(reply, reason, stopwatch)
        if lane:
            self._memory.remember(tenant, url, lane, _rate(reply.headers.get("webhook-allowed-rate", ANY)))
        return None

    def _refusal_reason(self, reply: Reply, url: str) -> str | None:
        allowed = reply.headers.get("webhook-allowed-origin")
        if redirect := redirects.describe(reply, url):
            return f"the receiver answers the CloudEvents handshake (OPTIONS) with {redirect}"
        if by_status(reply.status) is not Verdict.DELIVERED:
            return f"the receiver answers {reply.status} to the CloudEvents handshake (OPTIONS)"
        if allowed is None:
            return "the receiver does not allow CloudEvents: its response to OPTIONS lacks WebHook-Allowed-Origin"
        if allowed.strip().lower() not in (ANY, self._origin.lower()):
            return f"the receiver allows CloudEvents, but not from {self._origin}"
        return None


def _refused(reply: Reply, reason: str, stopwatch: Stopwatch) -> Attempt:
    """Returns RETRY for a temporary status such as 503; else REFUSED, which somebody must fix."""
    busy = by_status(reply.status) is Verdict.RETRY
    attempt = failed(Verdict.RETRY if busy else Verdict.REFUSED, reason, stopwatch)
    return replace(attempt, status_code=reply.status)


def _rate(allowed: str) -> float | None:
    """Returns callbacks per second; None for no limit, or if the value is malformed."""
    text = allowed.strip()
    return int(text) / 60 if NUMBER.fullmatch(text) and int(text) > 0 else None
