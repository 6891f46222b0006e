"""Where faults happen: each round trip to Redis, and each call to CPH or a receiver, passes the gate."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NotConnected
from redis.retry import Retry

from app.domain.errors import Unavailable
from app.store.engine.connection import RetryPolicy

Play = Callable[[int], None]


class Crash(BaseException):
    """The process that made the call is killed. No handler of the product catches it."""


class GateFault(StrEnum):
    """before: the call has not happened. after: it has, and the caller does not get the reply."""

    CRASH_BEFORE = "crash_before"
    CRASH_AFTER = "crash_after"
    SUSPEND_BEFORE = "suspend_before"
    SUSPEND_AFTER = "suspend_after"
    RESEND_BEFORE = "resend_before"  # the connection breaks: the call is made again
    RESEND_AFTER = "resend_after"  # the reply is lost: the call is made twice
    FAIL_BEFORE = "fail_before"  # Redis stays unavailable: no retry helps
    FAIL_AFTER = "fail_after"


OUTSIDE = (GateFault.CRASH_BEFORE, GateFault.CRASH_AFTER, GateFault.SUSPEND_BEFORE, GateFault.SUSPEND_AFTER)


@dataclass(slots=True)
class Armed:
    """countdown: calls until the fault. steps: of the history, which are played while the caller is suspended."""

    fault: GateFault
    countdown: int
    steps: int


class Gate:
    """play: plays the next steps of the history, nested within the current one."""

    def __init__(self) -> None:
        self._armed: list[Armed] = []
        self._play: Play = lambda _: None
        self.passed = 0  # numbers the moments between two calls

    def reset(self, play: Play) -> None:
        self._armed, self._play, self.passed = [], play, 0

    def arm(self, fault: GateFault, countdown: int, steps: int = 0) -> None:
        self._armed.append(Armed(fault, countdown, steps))

    def disarm(self) -> None:
        self._armed.clear()

    def outside(self, call: Callable[[], Any]) -> Any:
        """A call to CPH or a receiver. It cannot be sent twice: its failures are answers (world.py)."""
        return self._pass(call, [armed for armed in self._armed if armed.fault in OUTSIDE])

    def redis(self, call: Callable[[], Any]) -> Any:
        """A round trip to Redis."""
        return self._pass(call, self._armed)

    def _pass(self, call: Callable[[], Any], counting: list[Armed]) -> Any:
        self.passed += 1
        for armed in counting:
            armed.countdown -= 1
        hit = next((armed for armed in counting if armed.countdown < 1), None)
        if hit is None:
            return call()
        self._armed.remove(hit)
        if hit.fault.endswith("_before"):
            self._strike(hit)
            return call()
        reply = call()
        self._strike(hit)
        return reply

    def _strike(self, hit: Armed) -> None:
        match hit.fault:
            case GateFault.CRASH_BEFORE | GateFault.CRASH_AFTER:
                raise Crash
            case GateFault.SUSPEND_BEFORE | GateFault.SUSPEND_AFTER:
                self._play(hit.steps)
            case GateFault.RESEND_BEFORE | GateFault.RESEND_AFTER:
                raise NotConnected("simulated")
            case GateFault.FAIL_BEFORE | GateFault.FAIL_AFTER:
                raise Unavailable("simulated")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedRetries(RetryPolicy):
    """The connection's retries, without their waits; each attempt passes the gate."""

    gate: Gate

    def run(self, command: Callable[[], Any]) -> Any:
        return RetryPolicy.run(self, lambda: self.gate.redis(command))


def gated(gate: Gate) -> GatedRetries:
    return GatedRetries(Retry(NoBackoff(), retries=8), timedelta(hours=1), gate=gate)
