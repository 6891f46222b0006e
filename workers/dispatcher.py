"""Keeps enough RQ jobs queued to work off what is due. Level-triggered: what it missed it sees at the next look."""

import logging
import os
from datetime import datetime, timedelta
from threading import Event

from app import logs
from app.domain.errors import Unavailable
from app.runtime import DELIVER, POLL, Runtime
from app.store.connection import AWAY
from workers.queues import KINDS, enqueue_drain, queue

LOOK = timedelta(milliseconds=500)  # the longest wait between two looks, when nothing is due and no mark comes
BUSY_LOOK = timedelta(milliseconds=20)  # the shortest, when work is due and the workers are at it
STANDBY = timedelta(seconds=1)
OVERDUE_AT_ONCE = 20  # registrations of up to 1,000 jobs each


class Dispatcher:
    """One looks, the others stand by."""

    def __init__(self, runtime: Runtime) -> None:
        self._wake_ups = runtime.wake_ups
        self._watches = runtime.watches
        self._clock = runtime.clock
        self._agendas = {POLL: runtime.polls_due, DELIVER: runtime.deliveries_due}
        self._queues = {kind: queue(kind, runtime.rq_redis) for kind in KINDS}
        self._drain_timeout_s = 2 * runtime.settings.lease_s

    def run(self, stopping: Event) -> None:
        """Until told to stop, or until the worker that started it is gone."""
        parent = os.getppid()
        while not stopping.is_set() and os.getppid() == parent:
            try:
                if self._wake_ups.lead():
                    self._wait(self.look())
                else:
                    stopping.wait(STANDBY.total_seconds())
            except (Unavailable, *AWAY) as error:
                logs.event("dispatcher.waits", level=logging.WARNING, reason=str(error))
                stopping.wait(STANDBY.total_seconds())
        self._wake_ups.resign()

    def look(self) -> datetime | None:
        """Ends what is overdue, wakes workers for what is due; when the next look is worth it."""
        _, next_deadline = self._watches.end_overdue(self._clock(), OVERDUE_AT_ONCE)
        looks = [next_deadline, *(self._wake(kind) for kind in KINDS)]
        return min((look for look in looks if look), default=None)

    def _wake(self, kind: str) -> datetime | None:
        """While work is due, one wake-up lies ready for whichever worker is free."""
        due = self._agendas[kind].next_look()
        if due and due <= self._clock() and not self._queues[kind].count:
            enqueue_drain(self._queues[kind], kind, self._drain_timeout_s)
        return due

    def _wait(self, next_look: datetime | None) -> None:
        until = next_look - self._clock() if next_look else LOOK
        self._wake_ups.wait(KINDS, min(max(until, BUSY_LOOK), LOOK))
