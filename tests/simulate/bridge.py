"""The bridge that is simulated: its real stores, workers and dispatcher, on a real Redis, in one process."""

import base64
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import ConnectionPool

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import load
from app.domain.errors import Unavailable
from app.domain.verdict import Verdict
from app.store.deliveries import StartedAttempt
from app.store.durations import SeenDurations
from app.store.engine.scripts import ScriptCall, Scripts
from app.webhooks.callback_client import CallbackClient
from tests.simulate.gate import Gate, gated
from tests.simulate.world import Receivers, ScriptedSender, SimulatedCloud
from tests.support.api_client import KEY
from tests.support.manual_clock import ManualClock
from workers.delivery.deliver import DeliveryWorker
from workers.dispatcher import Dispatcher
from workers.engine.drain_loop import DrainLoop, Results, Work
from workers.polling.project_health import HealthRecorder
from workers.polling.schedule import PollSchedule
from workers.polling.show_job import PollWorker
from workers.rq_queues import KINDS
from workers.telemetry import Telemetry

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PROJECT = "default"
THREADS = 4
SETTINGS = {
    "BRIDGE_SECRET_KEYS": "k1:" + base64.b64encode(b"k" * 32).decode(),
    "BRIDGE_CPH_PROJECT_ID": "p" * 32,
    "BRIDGE_CPH_ENDPOINT": "http://127.0.0.1:9",
    "BRIDGE_CPH_TOKEN": "unused",
    "BRIDGE_BOOTSTRAP_KEY": KEY,
    "BRIDGE_ALLOW_NETWORKS": "127.0.0.0/8",
    # Shorter than in production, so that a history has all of it, and the end does not take long.
    "BRIDGE_LEASE_S": "21",
    "BRIDGE_CPH_TIMEOUT_S": "5",
    "BRIDGE_ATTEMPT_DEADLINE_S": "5",
    "BRIDGE_LOST_GRACE_S": "20",
    "BRIDGE_REQUEST_QUIET_S": "10",
    "BRIDGE_RETRY_SCHEDULE": "5,30,120,600",
    "BRIDGE_POLL_MAX_S": "600",
}


class SimulatedBridge:
    """Built once for all seeds: `reset` makes it empty.

    stores: what the bridge uses; its calls pass the gate. observer: reads for the model, without faults.
    """

    def __init__(self, redis_url: str) -> None:
        self.gate, self.clock = Gate(), ManualClock(START)
        self.runtime = Runtime(load(SETTINGS | {"BRIDGE_REDIS_URL": redis_url}), environment={})
        self.stores = self.runtime.stores
        self.stores.redis = _quick(self.stores.connect_to_redis(gated(self.gate)))
        self.stores.clock = self.clock
        self.observer = Stores(self.runtime.settings)
        self.observer.redis = _quick(self.observer.redis)
        self.observer.redis.config_set("appendonly", "no")
        self.dispatcher = PlainDispatcher(self.runtime)

    def reset(self) -> None:
        self.observer.redis.flushall()
        for queue in self.dispatcher.queues.values():
            queue.count = 0
        self.clock.now = START

    def poll_worker(self, cloud: SimulatedCloud) -> "SimulatedWorker":
        telemetry = Telemetry(self.runtime.metric_registry, None)
        durations = SeenDurations(self.stores.redis, self.clock, retention=timedelta(days=14))
        work = PollWorker(
            agenda=self.stores.polls_due,
            watches=self.stores.watches,
            requests=self.stores.requests,
            clients={PROJECT: cloud},
            health=HealthRecorder(self.stores.polls_due, self.runtime.config.rate_of, telemetry),
            schedule=PollSchedule(self.runtime.cadence, durations),
            lost_grace=timedelta(seconds=self.runtime.settings.lost_grace_s),
            telemetry=telemetry,
            clock=self.clock,
            crash_point=lambda _: None,
        )
        return SimulatedWorker(work, self.stores.scripts, self.clock, self.gate)

    def deliver_worker(self, receivers: Receivers) -> "SimulatedWorker":
        sender = ScriptedSender(receivers)
        work = DeliveryWorker(
            agenda=self.stores.deliveries_due,
            deliveries=self.stores.deliveries,
            gone_urls=self.stores.gone_urls,
            destinations=self.runtime.destinations,
            format_catalog=self.runtime.config.format_catalog,
            client=CallbackClient(sender, None, ()),
            schedules=self.runtime.schedules,
            deadline=timedelta(seconds=self.runtime.settings.attempt_deadline_s),
            telemetry=Telemetry(self.runtime.metric_registry, None),
            clock=self.clock,
            crash_point=lambda _: None,
        )
        return SimulatedWorker(work, self.stores.scripts, self.clock, self.gate, sender)


class OneConnection(ConnectionPool):
    """A pool for one thread. redis-py's own spends as long on a round trip as the server."""

    def get_connection(self, *_: object, **__: object) -> Any:
        if not hasattr(self, "_one"):
            self._one = self.make_connection()
        return self._one

    def release(self, _: object) -> None:
        """Keeps it."""


def _quick(client: Any) -> Any:
    pool = client.connection_pool
    client.connection_pool = OneConnection(pool.connection_class, **pool.connection_kwargs)
    return client


class PlainQueue:
    """Stands for RQ's queue, of which the dispatcher needs little. count: RQ jobs that wait for a worker."""

    def __init__(self) -> None:
        self.count = 0

    def enqueue_call(self, *_: object, **__: object) -> None:
        self.count += 1


class PlainDispatcher(Dispatcher):
    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.queues = self._queues = {kind: PlainQueue() for kind in KINDS}


class Recorded:
    """A delivery whose result a worker has recorded. turn: when the worker began to claim it (Gate.passed)."""

    def __init__(self, begun: StartedAttempt, turn: int, verdicts: Sequence[tuple[str, Verdict]]) -> None:
        self.begun, self.turn, self.verdicts = begun, turn, verdicts


class SimulatedWorker:
    """A worker process, step by step: a drain loop whose threads work when the history says so.

    It stands for the loop's ThreadPool. tasks: claimed, each with the number of its turn. calls: results to record.
    busy: it is in the middle of a step, or suspended there.
    """

    size = THREADS

    def __init__(
        self, work: Work, scripts: Scripts, clock: ManualClock, gate: Gate, sender: ScriptedSender | None = None
    ) -> None:
        self._work, self._clock, self._gate, self._sender = work, clock, gate, sender
        self._loop = DrainLoop(work, self, scripts, clock, is_stuck=lambda: False, crash_point=lambda _: None)
        self.busy = False
        self.restart()

    def restart(self) -> None:
        """The process has ended, and a new one has started."""
        self.tasks: list[tuple[Any, int]] = []
        self.calls: list[ScriptCall] = []
        self.done: list[Recorded] = []
        self._running: Counter[str] = Counter()
        self._turn = 0

    def submit(self, task: Any, _: object) -> None:
        """The interface of ThreadPool."""
        self.tasks.append((task, self._turn))

    def turn(self, *, claims: bool) -> list[Recorded]:
        """Records results, and claims; as the drain loop does. Returns the deliveries whose results are recorded."""
        self._turn = self._gate.passed
        calls, self.calls, done, self.done = self.calls, [], self.done, []
        self._loop._turn(calls, self._running, Results(lambda *_: None), claims=claims)
        return done

    def work(self, number: int) -> None:
        """Does one task, as a thread does."""
        if not self.tasks:
            return
        task, turn = self.tasks.pop(number % len(self.tasks))
        if self._sender:
            self._sender.began, self._sender.turn, self._sender.answered = self._clock(), turn, []
        try:
            self.calls.extend(self._work.do(task))
            if self._sender:
                self.done.append(Recorded(task, turn, self._sender.answered))
        except Unavailable:
            pass  # the pool logs it: the lease ends
        finally:
            self._running -= Counter([task.tenant])
