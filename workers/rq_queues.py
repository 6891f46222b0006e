"""RQ's queues and worker. Only one function may run there, with one plain argument."""

from typing import Any

from rq import Queue, SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import import_attribute

from app.bootstrap.stores import Stores
from app.store.agenda import DELIVER, POLL
from workers.engine.stop_flag import StopFlag

KINDS = (POLL, DELIVER)
# The name in the queue. It is not a real path: workers of earlier versions, in a rolling upgrade, accept no other.
DRAIN = "workers.drain.drain"
DRAIN_FUNCTION = "workers.rq_jobs.drain"

DRAIN_S = 20  # a drain ends after this long, which bounds the wait of a rolling restart
WORKER_TTL_S = 20
FORGET_FAILED_S = 3_600  # failed RQ jobs are kept for inspection; their items fall due again by themselves


class DrainJob(Job):
    """An RQ job that runs `drain` and nothing else: otherwise anyone who can write to Redis could name any function."""

    @property
    def func(self) -> Any:
        if self.func_name != DRAIN:
            raise PermissionError(f"RQ job {self.id} names a function that is not allowed here")
        return import_attribute(DRAIN_FUNCTION)

    # RQ would import the callbacks by name, and call the webhooks' addresses. A drain has none.
    success_callback = failure_callback = stopped_callback = property(lambda _: None)
    webhooks = property(lambda _: [], lambda _job, _webhooks: None)


def queue(kind: str, stores: Stores) -> Queue:
    return Queue(f"cph-{kind}", connection=stores.rq_redis, job_class=DrainJob, serializer=JSONSerializer)


def enqueue_drain(target: Queue, kind: str, timeout_s: float) -> None:
    """timeout_s: RQ ends a drain that exceeds DRAIN_S by this much."""
    target.enqueue_call(
        DRAIN, args=(kind,), timeout=int(DRAIN_S + timeout_s), result_ttl=0, failure_ttl=FORGET_FAILED_S
    )


class DrainWorker(SimpleWorker):
    """RQ's worker without forks: connections stay open between drains, and kill -9 leaves no orphan running."""

    def __init__(self, target: Queue, stopping: StopFlag) -> None:
        # A short worker_ttl bounds how long the worker waits for a Redis that stopped answering.
        super().__init__(
            [target],
            connection=target.connection,
            job_class=DrainJob,
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
