"""The drain loop, on a real agenda."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from threading import Event, Thread
from time import monotonic

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.devkit.processes import PATIENCE_S, wait_until
from app.domain.times import to_ms
from app.store.agenda import Agenda, Claimed
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall
from tests.support.claims import claim_due, put_due
from workers.engine.drain_loop import CLAIM_EVERY_S, STUCK_GRACE_S, DrainLoop, StuckCheck, ThreadPool
from workers.engine.stop_flag import StopFlag

ENDLESS = """
from app import logs
from workers import rq_jobs
from workers.engine.drain_loop import Results, StuckCheck, ThreadPool

class Task:
    tenant = "t"

def do(_):
    while True:
        pass

logs.configure("INFO")
pool = ThreadPool(1, do)
is_stuck = StuckCheck(pool, 0.5, rq_jobs.end_process)
pool.submit(Task(), Results(lambda *_: None))
while True:
    is_stuck()
"""


class RecordingWork:
    """Records which tasks were done; `job` runs for each."""

    def __init__(self, stores: Stores, job: Callable[[Claimed], None] = lambda _: None) -> None:
        self.agenda: Agenda = stores.polls_due
        self.done: list[str] = []
        self._job = job

    def prepare(self, claimed: Sequence[Claimed]) -> Sequence[Claimed]:
        return claimed

    def do(self, task: Claimed) -> Sequence[ScriptCall]:
        self._job(task)
        self.done.append(task.id)
        return [
            ScriptCall(
                "postpone", project=task.lane, job=task.id, fence=task.fence, due=task.fence, patience=1000, changes=()
            )
        ]


@pytest.fixture
def make_due_watches(stores: Stores) -> Callable[[int], None]:
    """Makes watches that are due now, in a lane without a rate limit."""

    def make(count: int) -> None:
        stores.redis.hset(keys.lane("poll", "default"), "rate", 0)
        due = to_ms(stores.clock())
        ids = {f"job-{number}": due for number in range(count)}
        if ids:
            put_due(stores.redis, "poll", "default", ids)
        for id in ids:
            stores.redis.hset(keys.watch("default", id), mapping={"state": "pending", "tenants": "t"})

    return make


def make_drain_loop(
    runtime: Runtime,
    work: RecordingWork,
    threads: int = 4,
    *,
    limit_s: float = PATIENCE_S,
    give_up: Callable[[], None] = lambda: None,
) -> DrainLoop:
    pool = ThreadPool(threads, work.do)
    scripts, clock, crash_point = runtime.stores.scripts, runtime.stores.clock, runtime.crash_point
    is_stuck = StuckCheck(pool, limit_s, give_up)
    return DrainLoop(work, pool, scripts, clock, is_stuck=is_stuck, crash_point=crash_point)


def test_a_drain_works_off_what_is_due_and_ends(runtime: Runtime, make_due_watches) -> None:
    make_due_watches(500)
    work = RecordingWork(runtime.stores)
    make_drain_loop(runtime, work).run(seconds=30, stopping=StopFlag())
    assert sorted(work.done) == sorted(f"job-{number}" for number in range(500))
    assert runtime.stores.redis.zcard(keys.leased("poll", "default")) == 0


def test_a_drain_ends_when_its_time_is_up_and_what_it_leaves_running_is_recorded(
    runtime: Runtime, make_due_watches
) -> None:
    make_due_watches(500)
    work = RecordingWork(runtime.stores, lambda _: wait_until(lambda: monotonic() > begun + 0.5, what="half a second"))
    begun = monotonic()
    loop = make_drain_loop(runtime, work)
    loop.run(seconds=0.3, stopping=StopFlag())
    loop.finish()
    assert 0 < len(work.done) < 500
    assert runtime.stores.redis.zcard(keys.leased("poll", "default")) == 0


def test_what_a_drain_leaves_running_delays_nobody_and_keeps_its_threads(runtime: Runtime, make_due_watches) -> None:
    gate, started = Event(), []

    def run(task: Claimed) -> None:
        if task.tenant == "slow":
            started.append(task.id)
            gate.wait(PATIENCE_S)

    work = RecordingWork(runtime.stores, run)
    loop = make_drain_loop(runtime, work, threads=8)
    make_due_watches(0)
    for number in range(20):
        runtime.stores.redis.hset(
            keys.watch("default", f"slow-{number}"), mapping={"state": "pending", "tenants": "slow"}
        )
    put_due(runtime.stores.redis, "poll", "default", {f"slow-{number}": 0 for number in range(20)}, tenant="slow")
    loop.run(seconds=0.2, stopping=StopFlag())
    make_due_watches(50)
    loop.run(seconds=1, stopping=StopFlag())
    assert len(work.done) == 50
    assert len(started) == 4
    gate.set()
    loop.finish()
    assert runtime.stores.redis.zcard(keys.leased("poll", "default")) == 0


def test_a_drain_with_nothing_in_hand_ends_however_long_the_handler_of_a_signal_takes(
    runtime: Runtime, make_due_watches
) -> None:
    """RQ's SIGTERM handler writes to Redis, which may be slow."""
    make_due_watches(1)  # afterwards the drain is idle
    handled_at = []

    def handle_slowly(*_: object) -> None:
        handled_at.append(monotonic())
        if len(handled_at) > 100:
            raise TimeoutError("the drain does not end")
        Event().wait(2 * CLAIM_EVERY_S)
        signal.setitimer(signal.ITIMER_REAL, CLAIM_EVERY_S * 0.7)

    before = signal.signal(signal.SIGALRM, handle_slowly)
    try:
        signal.setitimer(signal.ITIMER_REAL, CLAIM_EVERY_S * 0.7)
        make_drain_loop(runtime, RecordingWork(runtime.stores)).run(seconds=30, stopping=StopFlag())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert handled_at


def test_a_drain_that_is_to_stop_finishes_what_is_in_hand(runtime: Runtime, make_due_watches) -> None:
    make_due_watches(100)
    gate, stopping = Event(), StopFlag()
    work = RecordingWork(runtime.stores, lambda _: gate.wait(10) and None)
    loop = make_drain_loop(runtime, work, threads=8)
    thread = Thread(target=loop.run, kwargs={"seconds": 30, "stopping": stopping})
    thread.start()
    wait_until(lambda: runtime.stores.redis.zcard(keys.leased("poll", "default")) == 4, what="four leased items")
    stopping.set()
    gate.set()
    thread.join(10)
    assert not thread.is_alive()
    assert 4 <= len(work.done) <= 8
    assert runtime.stores.redis.zcard(keys.leased("poll", "default")) == 0


def test_one_slow_task_keeps_nobody_waiting(runtime: Runtime, make_due_watches) -> None:
    make_due_watches(200)
    gate = Event()
    work = RecordingWork(runtime.stores, lambda task: gate.wait(10) and None if task.id == "job-0" else None)
    thread = Thread(target=make_drain_loop(runtime, work).run, kwargs={"seconds": 30, "stopping": StopFlag()})
    thread.start()
    wait_until(lambda: len(work.done) == 199, what="all but the slow one")
    gate.set()
    thread.join(10)
    assert len(work.done) == 200


def test_a_bug_in_one_task_costs_that_task_alone(runtime: Runtime, make_due_watches, caplog) -> None:
    make_due_watches(20)

    def fail_on_job_7(task: Claimed) -> None:
        if task.id == "job-7":
            raise KeyError("a bug")

    work = RecordingWork(runtime.stores, fail_on_job_7)
    make_drain_loop(runtime, work).run(seconds=30, stopping=StopFlag())
    assert len(work.done) == 19
    assert [record.message for record in caplog.records] == ["work.failed"]
    due_again = claim_due(runtime.stores.polls_due, runtime.stores.clock() + runtime.settings.lease, 100)
    assert "job-7" in [item.id for item in due_again]


@pytest.mark.slow  # waits out the grace
def test_a_task_that_outlives_its_lease_ends_the_process_and_until_then_nothing_is_claimed(
    runtime: Runtime, make_due_watches, caplog
) -> None:
    make_due_watches(1)
    gate, gave_up = Event(), []

    def give_up() -> None:
        gave_up.append((monotonic(), runtime.stores.redis.zcard(keys.leased("poll", "default"))))
        gate.set()

    work = RecordingWork(runtime.stores, lambda _: gate.wait(PATIENCE_S) and None)
    loop = make_drain_loop(runtime, work, limit_s=0.5, give_up=give_up)
    began = monotonic()
    thread = Thread(target=loop.run, kwargs={"seconds": PATIENCE_S, "stopping": StopFlag()})
    thread.start()
    wait_until(lambda: monotonic() > began + 2, what="the task is stuck")
    make_due_watches(5)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    [(gave_up_at, leased)] = gave_up
    assert gave_up_at - began > STUCK_GRACE_S
    assert leased == 1
    assert [record.message for record in caplog.records] == ["worker.stuck"]


@pytest.mark.slow  # waits out the grace
def test_a_process_with_an_endless_task_ends_with_its_last_line_written() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDLESS], stderr=subprocess.PIPE, encoding="utf-8", timeout=PATIENCE_S, check=False
    )
    assert ended.returncode == 1
    assert json.loads(ended.stderr)["event"] == "worker.stuck"


def test_a_long_task_that_ends_in_the_grace_costs_nobody_anything(runtime: Runtime, make_due_watches) -> None:
    make_due_watches(20)
    work = RecordingWork(runtime.stores, lambda task: Event().wait(1.5) and None if task.id == "job-0" else None)
    make_drain_loop(runtime, work, threads=2, limit_s=0.5).run(seconds=30, stopping=StopFlag())
    make_drain_loop(runtime, work, threads=2, limit_s=0.5).run(seconds=30, stopping=StopFlag())
    assert len(work.done) == 20
