"""What may run on RQ: one function, by name, with one plain argument."""

from typing import Any

from rq import Queue, SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer

from app.bootstrap.stores import Stores
from app.store.agenda import DELIVER, POLL
from workers.engine.stop_flag import StopFlag

KINDS = (POLL, DELIVER)
DRAIN = "workers.rq_jobs.drain"
ALLOWED = frozenset({DRAIN})

DRAIN_S = 20  # a drain ends after this long, so that a rolling restart need not wait for longer
WORKER_TTL_S = 20
FORGET_FAILED_S = 3_600  # wake-ups that failed are kept for a look; what they were for falls due again by itself


class WakeUp(Job):
    """An RQ job that can be nothing but a drain: whoever can write to Redis could name any function otherwise."""

    @property
    def func(self) -> Any:
        if self.func_name not in ALLOWED:
            raise PermissionError(f"RQ job {self.id} names a function that is not allowed here")
        return super().func

    # RQ imports the functions that the first three name, and calls the addresses in the last; wake-ups have none.
    success_callback = failure_callback = stopped_callback = property(lambda _: None)
    webhooks = property(lambda _: [], lambda _job, _webhooks: None)


def queue(kind: str, stores: Stores) -> Queue:
    return Queue(f"cph-{kind}", connection=stores.rq_redis, job_class=WakeUp, serializer=JSONSerializer)


def enqueue_drain(target: Queue, kind: str, timeout_s: float) -> None:
    """`timeout_s`: what a drain may take beyond its own time, before RQ ends it."""
    target.enqueue_call(
        DRAIN, args=(kind,), timeout=int(DRAIN_S + timeout_s), result_ttl=0, failure_ttl=FORGET_FAILED_S
    )


class DrainWorker(SimpleWorker):
    """RQ's stock worker without forks: connections stay alive between drains, and kill -9 leaves no orphan at work."""

    def __init__(self, target: Queue, stopping: StopFlag) -> None:
        # A short worker_ttl makes it come back soon from a Redis that went silent.
        super().__init__(
            [target],
            connection=target.connection,
            job_class=WakeUp,
            serializer=JSONSerializer,
            worker_ttl=WORKER_TTL_S,
            log_job_description=False,
        )
        self._stopping = stopping

    def handle_warm_shutdown_request(self) -> None:
        """RQ's hook for the first SIGTERM: the drain in hand hears of it."""
        self._stopping.set()

    def _install_signal_handlers(self) -> None:
        super()._install_signal_handlers()  # type: ignore[no-untyped-call] # RQ's
        self._stop_requested = self._stopping.is_set()  # a SIGTERM that came before RQ listened
