"""Enqueues RQ jobs while work is due, ends overdue registrations, has damage repaired.

Level-triggered: each tick reads the state anew."""

import logging
from contextlib import suppress
from datetime import datetime
from time import monotonic

from app import logs
from app.bootstrap.runtime import Runtime
from app.domain.errors import Unavailable, UnfitRedis
from app.store.agenda import DELIVER, POLL
from app.store.engine.connection import REDIS_ERRORS, translate
from app.store.fitness import Fitness
from workers.engine.stop_flag import StopFlag
from workers.rq_queues import KINDS, enqueue_drain, has_waiting, queue

TICK_S = 0.5  # between two ticks, when nothing is due and no wake mark comes
BUSY_TICK_S = 0.02  # minimum time between two ticks, when wake marks keep coming or the workers are busy
LOCK_CHECK_S = 1.0  # between two attempts to take or renew the lock
OVERDUE_JOBS = 200  # in a tick, of overdue registrations: more would block Redis for everybody else


class Dispatcher:
    """All workers run one; the one that holds the lock is active."""

    def __init__(self, runtime: Runtime) -> None:
        self._fitness = Fitness(runtime.stores.scripts)
        self._lock = runtime.stores.dispatcher_lock
        self._data_marker = runtime.stores.data_marker
        self._reconciler = runtime.stores.reconciler
        self._deadlines = runtime.stores.deadlines
        self._clock = runtime.stores.clock
        self._agendas = {POLL: runtime.stores.polls_due, DELIVER: runtime.stores.deliveries_due}
        self._queues = {kind: queue(kind, runtime.stores) for kind in KINDS}
        self._overdue = 0  # registrations ended since the last heartbeat
        self._drain_timeout_s = 2 * runtime.settings.lease_s

    def run(self, stopping: StopFlag) -> None:
        """Runs until stopped. Raises UnfitRedis, also if a later Redis is unfit."""
        while not stopping.is_set():
            try:
                self._fitness.check()
                self._data_marker.check(self._clock())
                if self._lock.acquire():
                    self._tick_until(stopping, monotonic() + LOCK_CHECK_S)
                    self._reconciler.run(self._clock())
                else:
                    self._clock()  # a second process must see when Redis' clock leaps
                    stopping.wait(LOCK_CHECK_S)
            except (Unavailable, *REDIS_ERRORS) as error:
                reason = translate(error)
                if not isinstance(reason, Unavailable | UnfitRedis):
                    raise
                logs.event("dispatcher.waits", level=logging.WARNING, reason=str(reason))
                stopping.wait(LOCK_CHECK_S)
        with suppress(Unavailable):  # it expires soon
            self._lock.release()

    def tick(self) -> datetime | None:
        """Ends what is overdue and enqueues a drain for each agenda with due items. Returns when to tick again."""
        ended, next_deadline = self._deadlines.end_overdue(self._clock(), OVERDUE_JOBS)
        self._overdue += ended
        due_times = {kind: agenda.next_due_at() for kind, agenda in self._agendas.items()}
        for kind, due in due_times.items():
            # One RQ job waits in the queue while work is due: the next free worker takes it.
            if due and due <= self._clock() and not has_waiting(self._queues[kind]):
                enqueue_drain(self._queues[kind], kind, self._drain_timeout_s)
        return min((moment for moment in (next_deadline, *due_times.values()) if moment), default=None)

    def _tick_until(self, stopping: StopFlag, end: float) -> None:
        ticks = 0
        while not stopping.is_set() and monotonic() < end:
            ticks += 1
            began = monotonic()
            next_tick = self.tick()
            left_s = (next_tick - self._clock()).total_seconds() if next_tick else TICK_S
            self._lock.wait(KINDS, min(max(left_s, BUSY_TICK_S), TICK_S))
            # Wake marks in quick succession share one tick.
            stopping.wait(max(0.0, began + BUSY_TICK_S - monotonic()))
        self._lock.record_heartbeat(self._clock(), ticks, self._overdue)
        self._overdue = 0
