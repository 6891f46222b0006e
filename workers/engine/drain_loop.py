"""The loop of a drain: claims due items, works on them in threads, records the results. No thread waits for another.

A drain whose time is up does not wait for its running tasks, which then record their own results. So the next drain
claims at once, and no tenant waits for long tasks of another.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from math import inf
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic, sleep
from typing import Any, Protocol

from app import logs
from app.store.agenda import Agenda, Claimed
from app.store.engine.scripts import ScriptCall, Scripts
from workers.engine.stop_flag import StopFlag

CLAIM_EVERY_S = 0.02  # while a thread is free: the longest delay until a due item is seen
IDLE_S = 0.25  # without work for this long, the drain ends: starting an RQ job costs more than a few claims
CHECK_S = 1.0  # while nothing can be claimed: between two checks for a stuck task
STUCK_GRACE_S = 10.0  # once a task is stuck: for the others to end, before the process does
BATCH_S = 0.005  # while other tasks run, results of this long share a round trip, which costs as much as several


class Task(Protocol):
    @property
    def tenant(self) -> str:
        """The tenant in whose turn it was claimed."""


Result = tuple[str, Sequence[ScriptCall]]  # tenant of the task, scripts that record its result


class Results:
    """Results of a drain's tasks. record_late: called with those that come after the drain has closed it."""

    def __init__(self, record_late: Callable[[str, Sequence[ScriptCall]], None]) -> None:
        self._record_late = record_late
        self._queue: SimpleQueue[Result] = SimpleQueue()
        self._lock = Lock()
        self._closed = False

    def put(self, tenant: str, calls: Sequence[ScriptCall]) -> None:
        with self._lock:
            if not self._closed:
                self._queue.put((tenant, calls))
                return
        self._record_late(tenant, calls)

    def take(self, timeout: float = 0.0, batch_s: float = 0.0) -> list[Result]:
        """Waits for a first result, at most `timeout` seconds, and `batch_s` for more. Returns all that are there."""
        try:
            taken = [self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()]
        except Empty:
            return []
        if batch_s:
            sleep(batch_s)
        while not self._queue.empty():
            taken.append(self._queue.get())
        return taken

    def close(self) -> list[Result]:
        """Returns what is there."""
        with self._lock:
            self._closed = True
        return self.take()


class Work(Protocol):
    """The work of one kind of worker."""

    agenda: Agenda

    def prepare(self, claimed: Sequence[Claimed]) -> Sequence[Task]:
        """Returns tasks for `do`, loaded in one round trip; omits items that need no work any more."""

    def do(self, task: Any) -> Sequence[ScriptCall]:
        """Runs on a thread: makes the outside call, returns the scripts that record its result."""


class ThreadPool:
    """Threads that outlive a drain, and keep their connections."""

    def __init__(self, size: int, do: Callable[[Any], Sequence[ScriptCall]]) -> None:
        self.size = size
        self._do = do
        self._tasks: SimpleQueue[tuple[Task, Results]] = SimpleQueue()
        self._started = [inf] * size  # when each thread's task began; inf without one
        for number in range(size):
            Thread(target=self._work, args=[number], name=f"work-{number}", daemon=True).start()

    @property
    def longest_s(self) -> float:
        """For how long the oldest running task has run."""
        return monotonic() - min(self._started)

    def submit(self, task: Task, results: Results) -> None:
        self._tasks.put((task, results))

    def _work(self, number: int) -> None:
        while True:
            task, results = self._tasks.get()
            self._started[number] = monotonic()
            calls: Sequence[ScriptCall] = ()
            try:
                calls = self._do(task)
            except Exception:  # noqa: BLE001 - a bug costs one task, not the drain: its lease ends and the item is due again
                logs.event("work.failed", level=logging.ERROR, exc_info=True, task=type(task).__name__)
            results.put(task.tenant, calls)
            self._started[number] = inf


class StuckCheck:
    """Ends the process when a task has run for `limit_s`: its thread does not come back, and its lease has ended, so
    the next worker may lose a thread to the same item.

    give_up: ends the process, which a supervisor restarts.
    """

    def __init__(self, pool: ThreadPool, limit_s: float, give_up: Callable[[], None]) -> None:
        self._pool = pool
        self._limit_s = limit_s
        self._give_up = give_up
        self._seen_at: float | None = None

    def __call__(self) -> bool:
        """Returns True if a task is stuck, so that nothing more should be claimed. Gives up STUCK_GRACE_S after that.

        The grace is for the other tasks, and for a process that was suspended: then all tasks seem old.
        """
        if self._pool.longest_s < self._limit_s:
            self._seen_at = None
            return False
        self._seen_at = self._seen_at or monotonic()
        if monotonic() > self._seen_at + STUCK_GRACE_S:
            logs.event("worker.stuck", level=logging.ERROR, task_s=round(self._pool.longest_s), limit_s=self._limit_s)
            self._give_up()
        return True


class DrainLoop:
    """Works on an agenda until nothing is due, the time is up, a task is stuck, or the process is told to stop."""

    def __init__(
        self,
        work: Work,
        pool: ThreadPool,
        scripts: Scripts,
        clock: Callable[[], datetime],
        *,
        is_stuck: Callable[[], bool],
        crash_point: Callable[[str], None],
    ) -> None:
        self._work = work
        self._pool = pool
        self._is_stuck = is_stuck
        self._scripts = scripts
        self._clock = clock
        self._crash_point = crash_point
        self._left: Counter[str] = Counter()  # tasks by tenant that earlier drains have left running
        self._lock = Lock()  # of `_left`

    def run(self, *, seconds: float, stopping: StopFlag) -> None:
        """Records every task that ends meanwhile; if told to stop, waits for all.

        Raises Unavailable if Redis cannot be reached for long.
        """
        results, running = Results(self._record_late), Counter[str]()  # tasks by tenant
        try:
            self._run(results, running, monotonic() + seconds, stopping)
        finally:
            self._leave(running, results)

    def _run(self, results: Results, running: Counter[str], until: float, stopping: StopFlag) -> None:
        idle_end = monotonic() + CLAIM_EVERY_S  # soon, for an RQ job that finds nothing due
        calls: list[ScriptCall] = []
        while True:
            over = stopping.is_set() or self._is_stuck()
            time_is_up = monotonic() >= until
            self._turn(calls, running, results, claims=not over and not time_is_up)
            busy = running.total()
            if time_is_up and not over:
                return
            if busy:
                idle_end = monotonic() + IDLE_S
            elif over or monotonic() > idle_end:
                return
            calls, finished = _collect(results, busy, CHECK_S if over or busy == self._pool.size else CLAIM_EVERY_S)
            running -= finished

    def finish(self) -> None:
        """Waits until all tasks have ended and are recorded. Call it when no drain runs any more."""
        while self._left.total():
            self._is_stuck()
            sleep(CLAIM_EVERY_S)

    def _leave(self, running: Counter[str], results: Results) -> None:
        """The tasks of this drain that still run record their results themselves."""
        with self._lock:
            self._left += running
        for tenant, calls in results.close():
            self._record_late(tenant, calls)

    def _record_late(self, tenant: str, calls: Sequence[ScriptCall]) -> None:
        try:
            if calls:
                self._scripts.run_all(calls)
        except Exception:  # noqa: BLE001 - costs one task: its lease ends and the item is due again
            logs.event("work.failed", level=logging.ERROR, exc_info=True, task="record")
        finally:
            with self._lock:
                self._left -= Counter([tenant])

    def _turn(self, calls: list[ScriptCall], running: Counter[str], results: Results, *, claims: bool) -> None:
        """Records results, claims items and submits tasks, in one or two round trips. Adds the tasks to `running`."""
        with self._lock:
            threads = running + self._left
        free = self._pool.size - threads.total() if claims else 0
        claim = [self._work.agenda.claim(self._clock(), free, list(threads.elements()))] if free else []
        if not calls and not claim:
            return
        answers = self._scripts.run_all(calls + claim)
        if calls:
            self._crash_point(f"{self._work.agenda.name}.recorded")
        batch = self._work.agenda.claimed(answers[-1]) if claim else ()
        tasks = self._work.prepare(batch) if batch else ()
        for task in tasks:
            self._pool.submit(task, results)
            running[task.tenant] += 1


def _collect(results: Results, running: int, timeout: float) -> tuple[list[ScriptCall], Counter[str]]:
    """Waits for a first result, at most `timeout` seconds, then takes all that are there.

    Returns the scripts to run, and how many tasks of each tenant finished.
    """
    finished: Counter[str] = Counter()
    if not running:
        # Do not wait for a result that cannot come: if a signal handler takes longer than the rest of the timeout,
        # SimpleQueue (CPython 3.11 and 3.12) goes on with a negative timeout, which means no limit.
        sleep(CLAIM_EVERY_S)
        return [], finished
    calls: list[ScriptCall] = []
    for tenant, recorded in results.take(timeout, BATCH_S if running > 1 else 0.0):
        finished[tenant] += 1
        calls.extend(recorded)
    return calls, finished
