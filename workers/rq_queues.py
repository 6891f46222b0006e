"""RQ's queues and worker. Only one function may run there, with one plain argument."""

import logging
from typing import Any, ClassVar

from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import import_attribute

from app import logs
from app.bootstrap.stores import Stores
from app.store.agenda import DELIVER, POLL
from app.store.engine.connection import NO_RETRY, WrongType
from workers.engine.stop_flag import StopFlag

KINDS = (POLL, DELIVER)
# The name in the queue. It is not a real path: workers of earlier versions, in a rolling upgrade, accept no other.
DRAIN = "workers.drain.drain"
DRAIN_FUNCTION = "workers.rq_jobs.drain"

DRAIN_S = 20  # a drain ends after this long, which bounds the wait of a rolling restart
WORKER_TTL_S = 20
DEQUEUE_S = 2  # an idle worker waits this long for an RQ job, then shows that it lives
FAREWELL_S = 1.0  # for each reply of Redis while the worker ends
RECONNECT_S = 1.0  # between two attempts to reach Redis; RQ's own pauses grow to a minute
FORGET_FAILED_S = 3_600  # failed RQ jobs are kept for inspection; their items fall due again by themselves


class DrainJob(Job):
    """An RQ job that drains the agenda of its queue and nothing else.

    Otherwise anyone who can write to Redis could name any function, or make a worker do what it has no rights for.
    """

    kind: ClassVar[str]

    @property
    def func(self) -> Any:
        if (self.func_name, self.args, self.kwargs) != (DRAIN, [self.kind], {}):
            raise PermissionError(
                f"RQ job {self.id} is not a drain of the agenda {self.kind}, which alone is allowed here"
            )
        return import_attribute(DRAIN_FUNCTION)

    # RQ would import the callbacks by name, and call the webhooks' addresses. A drain has none.
    success_callback = failure_callback = stopped_callback = property(lambda _: None)
    webhooks = property(lambda _: [], lambda _job, _webhooks: None)


class PollJob(DrainJob):
    kind = POLL


class DeliverJob(DrainJob):
    kind = DELIVER


def queue(kind: str, stores: Stores) -> Queue:
    job_class = PollJob if kind == POLL else DeliverJob
    return Queue(f"cph-{kind}", connection=stores.rq_redis, job_class=job_class, serializer=JSONSerializer)


def has_waiting(target: Queue) -> bool:
    """Whether an RQ job waits. A queue of a wrong type is deleted: it can hold nothing but wake-ups."""
    try:
        return bool(target.count)
    except WrongType:
        target.connection.delete(target.key)
        remedy = "find out who writes to Redis; the key has been deleted"
        logs.event("record.unreadable", level=logging.ERROR, record=target.key, remedy=remedy)
        return False


def enqueue_drain(target: Queue, kind: str, timeout_s: float) -> None:
    """timeout_s: RQ ends a drain that exceeds DRAIN_S by this much."""
    target.enqueue_call(
        DRAIN, args=(kind,), timeout=int(DRAIN_S + timeout_s), result_ttl=0, failure_ttl=FORGET_FAILED_S
    )


class DrainWorker(SimpleWorker):
    """RQ's worker without forks: connections stay open between drains, and kill -9 leaves no orphan running."""

    max_connection_wait_time = RECONNECT_S
    # RQ's own values let the worker wait a quarter of a minute for a Redis that has silently gone.
    dequeue_timeout = DEQUEUE_S
    connection_timeout = DEQUEUE_S + 3

    def __init__(self, target: Queue, stopping: StopFlag) -> None:
        super().__init__(
            [target],
            connection=target.connection,
            job_class=target.job_class,
            serializer=JSONSerializer,
            worker_ttl=WORKER_TTL_S,
            log_job_description=False,
        )
        self._stopping = stopping

    def handle_warm_shutdown_request(self) -> None:
        """RQ's hook for the first SIGTERM: stops the running drain."""
        self._stopping.set()

    def _install_signal_handlers(self) -> None:
        super()._install_signal_handlers()  # type: ignore[no-untyped-call] # RQ's
        self._stop_requested = self._stopping.is_set()  # a SIGTERM may arrive before RQ installs its handlers

    def subscribe(self) -> None:
        """Takes no commands by PUBLISH: whoever can write to Redis could end this process."""

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """RQ calls this in its loop. An `except Exception` may have swallowed what its signal handler raised."""
        if pipeline is None and self._stopping.is_set():
            raise StopRequested
        super().heartbeat(timeout, pipeline)

    def handle_execution_ended(self, job: Job, queue: Queue, heartbeat_ttl: int) -> None:
        self._be_brief()
        super().handle_execution_ended(job, queue, heartbeat_ttl)

    def teardown(self) -> None:
        self._be_brief()
        super().teardown()  # type: ignore[no-untyped-call] # RQ's

    def _be_brief(self) -> None:
        """Once stopping, does not wait for a Redis that does not answer: RQ's records of this worker expire."""
        if self._stopping.is_set():
            pool = self.connection.connection_pool
            pool.connection_kwargs |= {
                "socket_timeout": FAREWELL_S,
                "socket_connect_timeout": FAREWELL_S,
                "retry": NO_RETRY.retry,
            }
            pool.reset()

    def set_shutdown_requested_date(self) -> None:
        """Writes nothing: RQ calls this in its signal handler, and Redis may be away."""
