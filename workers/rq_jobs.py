"""The only RQ job: it drains an agenda. It carries no work, so losing one or running two changes nothing."""

import os
from datetime import timedelta
from functools import cache

from app import logs
from app.bootstrap.runtime import Runtime
from app.config import settings
from app.domain.errors import OperatorError
from app.store.agenda import POLL
from app.store.engine.connection import PATIENT
from workers.delivery.deliver import DeliveryWorker
from workers.engine.drain_loop import DrainLoop, StuckCheck, ThreadPool, Work
from workers.engine.stop_flag import StopFlag
from workers.polling.project_health import HealthRecorder
from workers.polling.schedule import PollSchedule
from workers.polling.show_job import PollWorker
from workers.rq_queues import DRAIN_S
from workers.telemetry import Telemetry

stopping = StopFlag()  # set by SIGTERM: the drain finishes its work in progress and ends


def drain(kind: str) -> None:
    """Works on due items of the agenda `kind`, for about DRAIN_S at most."""
    engine(kind).run(seconds=DRAIN_S, stopping=stopping)


@cache
def runtime() -> Runtime:
    """Returns this process' Runtime; its connections live as long as the process."""
    return Runtime(settings.load(), patient=True, stopping=stopping.is_set)


@cache
def engine(kind: str) -> DrainLoop:
    """Returns the drain loop of this kind of worker. Raises OperatorError if a setting is missing."""
    parts = runtime()
    work = _polling(parts) if kind == POLL else _delivering(parts)
    pool = ThreadPool(parts.settings.worker_threads, work.do)
    # A task ends before its lease does, unless it waits for Redis.
    limit_s = parts.settings.lease_s + PATIENT.within.total_seconds()
    return DrainLoop(
        work,
        pool,
        parts.stores.scripts,
        parts.stores.clock,
        is_stuck=StuckCheck(pool, limit_s, end_process),
        crash_point=parts.crash_point,
    )


def end_process() -> None:
    """Ends this process at once. Any other way would wait for the thread that does not end."""
    logs.drain()
    os._exit(1)


def _polling(parts: Runtime) -> Work:
    if not parts.cph_clients:
        raise OperatorError("there is no CPH project to poll: set BRIDGE_CPH_PROJECT_ID or BRIDGE_PROJECTS_FILE")
    telemetry = Telemetry(parts.metric_registry, parts.tracing)
    return PollWorker(
        agenda=parts.stores.polls_due,
        watches=parts.stores.watches,
        requests=parts.stores.requests,
        clients=parts.cph_clients,
        health=HealthRecorder(parts.stores.polls_due, parts.config.rate_of, telemetry),
        schedule=PollSchedule(parts.cadence, parts.stores.durations),
        lost_grace=timedelta(seconds=parts.settings.lost_grace_s),
        telemetry=telemetry,
        clock=parts.stores.clock,
        crash_point=parts.crash_point,
    )


def _delivering(parts: Runtime) -> Work:
    return DeliveryWorker(
        agenda=parts.stores.deliveries_due,
        deliveries=parts.stores.deliveries,
        gone_urls=parts.stores.gone_urls,
        destinations=parts.destinations,
        format_catalog=parts.config.format_catalog,
        client=parts.callback_client,
        schedules=parts.schedules,
        deadline=timedelta(seconds=parts.settings.attempt_deadline_s),
        telemetry=Telemetry(parts.metric_registry, parts.tracing),
        clock=parts.stores.clock,
        crash_point=parts.crash_point,
    )
