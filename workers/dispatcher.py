"""Keeps enough RQ jobs queued to work off what is due. Level-triggered: what it missed it sees at the next look."""

import logging
import os
from datetime import datetime
from time import monotonic

from app import logs
from app.bootstrap.runtime import Runtime
from app.domain.errors import Unavailable
from app.store.agenda import DELIVER, POLL
from app.store.engine.connection import UNAVAILABLE_ERRORS, WORDS
from app.store.fitness import Fitness
from workers.engine.stop_flag import StopFlag
from workers.rq_queues import KINDS, enqueue_drain, queue

TICK_S = 0.5  # the longest between two looks, when nothing is due and no mark comes
BUSY_TICK_S = 0.02  # the shortest, when marks come all the time or the workers are at what is due
LOCK_CHECK_S = 1.0  # between two looks at the lock
OVERDUE_AT_ONCE = 20  # registrations of up to 1,000 jobs each


class Dispatcher:
    """One looks, the others stand by."""

    def __init__(self, runtime: Runtime) -> None:
        self._fitness = Fitness(runtime.stores.scripts)
        self._wake_ups = runtime.stores.dispatcher_lock
        self._watches = runtime.stores.watches
        self._clock = runtime.stores.clock
        self._agendas = {POLL: runtime.stores.polls_due, DELIVER: runtime.stores.deliveries_due}
        self._queues = {kind: queue(kind, runtime.stores) for kind in KINDS}
        self._overdue = 0  # that have ended, and nobody was told of for metrics
        self._drain_timeout_s = 2 * runtime.settings.lease_s

    def run(self, stopping: StopFlag) -> None:
        """Until told to stop, or until the worker that started it is gone. UnfitRedis, also for another Redis later."""
        parent = os.getppid()
        while not stopping.is_set() and os.getppid() == parent:
            try:
                self._fitness.check()
                if self._wake_ups.acquire():
                    self._tick_until(stopping, until=monotonic() + LOCK_CHECK_S)
                else:
                    stopping.wait(LOCK_CHECK_S)
            except (Unavailable, *UNAVAILABLE_ERRORS) as error:
                logs.event("dispatcher.waits", level=logging.WARNING, reason=WORDS.get(type(error), str(error)))
                stopping.wait(LOCK_CHECK_S)
        self._wake_ups.release()

    def tick(self) -> datetime | None:
        """Ends what is overdue, wakes workers for what is due; when the next look is worth it."""
        ended, next_deadline = self._watches.end_overdue(self._clock(), OVERDUE_AT_ONCE)
        self._overdue += ended
        looks = {kind: agenda.next_due_at() for kind, agenda in self._agendas.items()}
        for kind, due in looks.items():
            # While work is due, one wake-up lies ready for whichever worker is free.
            if due and due <= self._clock() and not self._queues[kind].count:
                enqueue_drain(self._queues[kind], kind, self._drain_timeout_s)
        return min((moment for moment in (next_deadline, *looks.values()) if moment), default=None)

    def _tick_until(self, stopping: StopFlag, until: float) -> None:
        looks = 0
        while not stopping.is_set() and monotonic() < until:
            looks += 1
            began = monotonic()
            next_look = self.tick()
            left_s = (next_look - self._clock()).total_seconds() if next_look else TICK_S
            self._wake_ups.wait(KINDS, min(max(left_s, BUSY_TICK_S), TICK_S))
            # Marks that come thick and fast are answered together.
            stopping.wait(max(0.0, began + BUSY_TICK_S - monotonic()))
        self._wake_ups.record_heartbeat(self._clock(), looks, self._overdue)
        self._overdue = 0
