"""`python -m workers poll|deliver`: an RQ worker and its dispatcher. `python -m workers dispatcher`: a dispatcher."""

import logging
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread
from time import sleep

from rq.exceptions import StopRequested

from app import logs
from app.bootstrap.runtime import Runtime
from app.domain.errors import OperatorError, Unavailable, UnfitRedis
from app.observability import listening, probe_server
from app.observability.exposition import METRICS, metrics_page
from app.store.agenda import POLL
from app.store.engine.connection import REDIS_ERRORS, translate
from workers import rq_jobs
from workers.dispatcher import Dispatcher
from workers.dispatcher_keeper import REFUSED, DispatcherKeeper, end_with_parent
from workers.engine.stop_flag import StopFlag
from workers.polling.retry_refused import RefusedProjectRetry
from workers.rq_queues import KINDS, DrainWorker, queue

RETRY_S = 1.0
TOUCH_S = 5.0


def main(role: str) -> int:
    """Returns the exit code: 0 after SIGTERM, with its work finished; 2 if a setting is wrong or Redis unfit."""
    try:
        runtime = rq_jobs.runtime()
        logs.configure(runtime.settings.log_level)
        if role in KINDS:
            runtime.warn_of_unknown_settings()
            runtime.check_configuration()
            rq_jobs.engine(role)
            _start_heartbeat(runtime.settings.alive_file)
            _serve_metrics(role, runtime)
    except OperatorError as error:
        logs.configure("INFO")
        logs.event("settings.wrong", level=logging.CRITICAL, reason=str(error))
        return REFUSED
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: rq_jobs.stopping.set())
    try:
        if role in KINDS:
            return _work_with_dispatcher(role, runtime, rq_jobs.stopping)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        end_with_parent(rq_jobs.stopping)
        Dispatcher(runtime).run(rq_jobs.stopping)
    except UnfitRedis as error:
        logs.event("redis.unfit", level=logging.CRITICAL, reason=str(error))
        return REFUSED
    return 0


def _work_with_dispatcher(kind: str, runtime: Runtime, stopping: StopFlag) -> int:
    retrying = RefusedProjectRetry(
        runtime.stores.polls_due, runtime.stores.scripts, runtime.cph_clients, runtime.stores.clock
    )

    def reload(*_: object) -> None:
        runtime.reload()
        retrying.ask()

    signal.signal(signal.SIGHUP, reload)
    with suppress(Unavailable):  # checked again once Redis can be reached
        runtime.stores.fitness.check()
    keeper = DispatcherKeeper(stopping)
    keeper_thread = Thread(target=keeper.run)
    keeper_thread.start()
    logs.event("worker.started", kind=kind)
    try:
        # RQ's handler of SIGTERM raises StopRequested, wherever the main thread is.
        with suppress(StopRequested):
            _work(kind, runtime, retrying, stopping)
        rq_jobs.engine(kind).finish()
    finally:
        stopping.set()
        keeper_thread.join()
    logs.event("worker.stopped", kind=kind)
    return REFUSED if keeper.refused else 0


def _work(kind: str, runtime: Runtime, retrying: RefusedProjectRetry, stopping: StopFlag) -> None:
    """Starts RQ's worker again whenever it ends because Redis cannot be reached."""
    retry_thread = Thread(target=retrying.run, args=(stopping,), daemon=True)
    while not stopping.is_set():
        try:
            runtime.stores.fitness.check()
            if kind == POLL and not retry_thread.ident:
                retry_thread.start()
            DrainWorker(queue(kind, runtime.stores), stopping).work(logging_level="WARNING")
        except (Unavailable, *REDIS_ERRORS) as error:
            reason = translate(error)
            if not isinstance(reason, Unavailable | UnfitRedis):
                raise
            logs.event("worker.waits", level=logging.WARNING, kind=kind, reason=str(reason))
        stopping.wait(RETRY_S)


def _start_heartbeat(file: Path | None) -> None:
    """Touches the file until the process ends, also while it finishes its work. Raises OperatorError if it cannot.

    The file proves only that threads run: RQ ends a drain that hangs, and a Redis outage may be long.
    """
    if not file:
        return
    try:
        file.touch()
    except OSError as error:
        raise OperatorError(f"BRIDGE_ALIVE_FILE: cannot touch {file}: {error.strerror}") from error
    Thread(target=_touch, args=(file,), daemon=True).start()


def _touch(file: Path) -> None:
    while True:
        sleep(TOUCH_S)
        file.touch()


def _serve_metrics(kind: str, runtime: Runtime) -> None:
    """Serves the metrics of this worker. The dispatcher has no endpoint: it records its numbers in Redis."""
    bind = runtime.settings.metrics_bind
    if bind:
        listener = listening.listen("BRIDGE_METRICS_BIND", bind)
        probe_server.ProbeServer(listener, {METRICS: partial(metrics_page, runtime.metrics)}).start()
        logs.event("worker.metrics_served", kind=kind, metrics=f"{listening.url_of(listener)}{METRICS}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
