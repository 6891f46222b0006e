"""The engine of a drain: claims what is due, works on it with threads, records how it went; no barrier."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic, sleep
from typing import Any, Protocol

from app import logs
from app.store.agenda import Agenda, Claimed
from app.store.engine.scripts import ScriptCall, Scripts
from workers.engine.stop_flag import StopFlag

NAP_S = 0.02  # how late a drain with time on its hands may see what has become due
LINGER_S = 0.25  # how long it waits for more before it ends: an RQ job costs more than a few looks

GATHER_S = 0.005  # while others are at work: results are recorded together, as a round trip costs as much as several

Results = SimpleQueue[Sequence[ScriptCall]]


class Work(Protocol):
    """What a drain works off."""

    agenda: Agenda

    def prepare(self, claimed: Sequence[Claimed]) -> Sequence[Any]:
        """Tasks for `do`: loads what they need in one round trip, leaves out what is not wanted any more."""

    def do(self, task: Any) -> Sequence[ScriptCall]:
        """On a thread: calls the outside; the scripts that record how it went."""


class ThreadPool:
    """Threads that outlive a drain, so that their connections do."""

    def __init__(self, size: int, do: Callable[[Any], Sequence[ScriptCall]]) -> None:
        self.size = size
        self._do = do
        self._tasks: SimpleQueue[tuple[Any, Results]] = SimpleQueue()
        for number in range(size):
            Thread(target=self._work, name=f"crew-{number}", daemon=True).start()

    def hand_over(self, task: Any, results: Results) -> None:
        self._tasks.put((task, results))

    def _work(self) -> None:
        while True:
            task, results = self._tasks.get()
            try:
                results.put(self._do(task))
            except Exception:  # noqa: BLE001 - a mistake of ours costs one task, not the drain: its lease ends and it is due again
                logs.event("work.failed", level=logging.ERROR, exc_info=True, task=type(task).__name__)
                results.put(())


class DrainLoop:
    """Works off an agenda until nothing is due any more, or the time is up, or the process is to stop."""

    def __init__(
        self,
        work: Work,
        crew: ThreadPool,
        scripts: Scripts,
        clock: Callable[[], datetime],
        crash_point: Callable[[str], None],
    ) -> None:
        self._work = work
        self._crew = crew
        self._scripts = scripts
        self._clock = clock
        self._crash_point = crash_point

    def run(self, *, seconds: float, stopping: StopFlag) -> None:
        """What is in hand is finished and recorded in any case. Raises Unavailable when Redis is away for long."""
        results: Results = SimpleQueue()
        until, in_hand = monotonic() + seconds, 0
        patience_ends = monotonic() + NAP_S  # soon, for a wake-up that was one too many
        calls: list[ScriptCall] = []
        while True:
            over = stopping.is_set() or monotonic() >= until
            taken = self._turn(calls, 0 if over else self._crew.size - in_hand, results)
            in_hand += taken
            if in_hand:
                patience_ends = monotonic() + LINGER_S
            elif over or monotonic() > patience_ends:
                return
            calls, finished = _collect(results, in_hand, patience=None if over or in_hand == self._crew.size else NAP_S)
            in_hand -= finished

    def _turn(self, calls: list[ScriptCall], free: int, results: Results) -> int:
        """Records, claims and hands over, in one or two round trips; how many tasks were handed over."""
        claim = [self._work.agenda.claim(self._clock(), free)] if free else []
        if not calls and not claim:
            return 0
        answers = self._scripts.run_all(calls + claim)
        if calls:
            self._crash_point(f"{self._work.agenda.name}.recorded")
        batch = self._work.agenda.claimed(answers[-1]) if claim else ()
        tasks = self._work.prepare(batch) if batch else ()
        for task in tasks:
            self._crew.hand_over(task, results)
        return len(tasks)


def _collect(results: Results, in_hand: int, patience: float | None) -> tuple[list[ScriptCall], int]:
    """Waits for a first result (for ever if `patience` is None), then takes what else is there."""
    if not in_hand:
        # A result that cannot come must not be waited for: if the handler of a signal takes longer than is left of the
        # timeout, SimpleQueue (of CPython 3.11 and 3.12) waits on for a negative time, which it takes for ever.
        sleep(NAP_S)
        return [], 0
    try:
        calls = list(results.get(timeout=patience))
    except Empty:
        return [], 0
    finished = 1
    if in_hand > finished:
        sleep(GATHER_S)
    while not results.empty():
        calls.extend(results.get())
        finished += 1
    return calls, finished
