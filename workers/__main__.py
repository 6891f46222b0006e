"""`python -m workers poll|deliver`: an RQ worker with its dispatcher. `python -m workers dispatcher`: that alone."""

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
from app.observability import probe_server
from app.observability.exposition import METRICS, metrics_page
from app.store.agenda import POLL
from app.store.engine.connection import UNAVAILABLE_ERRORS, WORDS
from workers import rq_jobs
from workers.dispatcher import Dispatcher
from workers.engine.stop_flag import StopFlag
from workers.keeper import REFUSED, Keeper
from workers.polling.retry_refused import RefusedProjectRetry
from workers.rq_queues import KINDS, DrainWorker, queue

RETRY_S = 1.0
TOUCH_S = 5.0


def main(role: str) -> int:
    """0 after SIGTERM, with what was in hand finished; 2 if a setting is wrong, or Redis unfit."""
    try:
        runtime = rq_jobs.runtime()
        logs.configure(runtime.settings.log_level)
        if role in KINDS:
            rq_jobs.engine(role)
            _show_life(runtime.settings.alive_file)
            _show_metrics(role, runtime)
    except OperatorError as error:
        logs.configure("INFO")
        logs.event("settings.wrong", level=logging.CRITICAL, reason=str(error))
        return REFUSED
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: rq_jobs.stopping.set())
    retrying = RefusedProjectRetry(
        runtime.stores.polls_due, runtime.stores.scripts, runtime.cph_clients, runtime.stores.clock
    )

    def reload(*_: object) -> None:
        runtime.reload()
        retrying.ask()

    signal.signal(signal.SIGHUP, reload)
    try:
        if role in KINDS:
            return _work_beside_dispatcher(role, runtime, retrying, rq_jobs.stopping)
        Dispatcher(runtime).run(rq_jobs.stopping)
    except UnfitRedis as error:
        logs.event("redis.unfit", level=logging.CRITICAL, reason=str(error))
        return REFUSED
    return 0


def _work_beside_dispatcher(kind: str, runtime: Runtime, retrying: RefusedProjectRetry, stopping: StopFlag) -> int:
    with suppress(Unavailable):  # it is looked at again as soon as it is there
        runtime.stores.fitness.check()
    keeper = Keeper(stopping)
    keeping = Thread(target=keeper.run)
    keeping.start()
    logs.event("worker.started", kind=kind)
    try:
        _work(kind, runtime, retrying, stopping)
    finally:
        stopping.set()
        keeping.join()
    logs.event("worker.stopped", kind=kind)
    return REFUSED if keeper.refused else 0


def _work(kind: str, runtime: Runtime, retrying: RefusedProjectRetry, stopping: StopFlag) -> None:
    """RQ's worker gives up when Redis breaks off, or is away when it starts: then it is started again."""
    asks_again = Thread(target=retrying.run, args=(stopping,), daemon=True)
    while not stopping.is_set():
        try:
            runtime.stores.fitness.check()
            if kind == POLL and not asks_again.ident:
                asks_again.start()
            DrainWorker(queue(kind, runtime.stores), stopping).work(logging_level="WARNING")
        except StopRequested:
            stopping.set()
        except (Unavailable, *UNAVAILABLE_ERRORS) as error:
            reason = str(error) if isinstance(error, Unavailable) else WORDS.get(type(error), f"Redis: {error}")
            logs.event("worker.waits", level=logging.WARNING, kind=kind, reason=reason)
        stopping.wait(RETRY_S)


def _show_life(file: Path | None) -> None:
    """Touches it to the end of the process, so while what is in hand is finished too. OperatorError if it cannot.

    It shows that threads run, and no more: a drain that hangs is ended by RQ, and Redis may be away for long.
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


def _show_metrics(kind: str, runtime: Runtime) -> None:
    """Of this worker; the dispatcher has none of its own: what it does is told in Redis."""
    bind = runtime.settings.metrics_bind
    if bind:
        listener = probe_server.listen("BRIDGE_METRICS_BIND", bind)
        probe_server.ProbeServer(listener, {METRICS: partial(metrics_page, runtime.metrics)}).start()
        logs.event("worker.measured", kind=kind, metrics=f"{probe_server.url_of(listener)}{METRICS}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
