"""`cph-bridge watch`: waits until jobs have ended; the exit code is their result."""

import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from app.cli import exit_codes
from app.cli.answers import Answer, UnreadableAnswer, record, records, required_records, required_text
from app.cli.api_client import ApiClient, ApiUnavailable, path_of, retry_delays
from app.cli.options import as_json, calls_api
from app.cli.output import echo_json
from app.cli.progress_table import ProgressTable, Row
from app.cli.times import Duration
from app.domain.errors import BridgeError, OperatorError
from app.domain.foreign_json import exact_text
from app.domain.registration import RegistrationState

POLL_INTERVAL = timedelta(seconds=1)
FRAMES_PER_SECOND = 4
EVENTS_PAGE_SIZE = 200
MIN_DEADLINE_S, MAX_DEADLINE_S = 10, 604_800  # the API's limits
DEADLINE_MARGIN_S = 60  # the deadline is later than --timeout, so that late jobs are not reported as overdue
STATES = frozenset(state.value for state in RegistrationState)  # a newer API may have others
MAX_NAMED_JOBS = 10  # listed in the command to resume


class Result(IntEnum):
    """The exit code."""

    SUCCEEDED = 0
    FAILED = 1
    TIMED_OUT = exit_codes.TIMED_OUT
    INTERRUPTED = exit_codes.INTERRUPTED


@dataclass(frozen=True, slots=True)
class WatchTarget:
    """The watched registration. keep: it must not be cancelled. resume_arguments: of the command that resumes it."""

    id: str
    keep: bool
    resume_arguments: tuple[str, ...]


class ProgressReader:
    """Polls a registration, and the feed for details of ended jobs. cursor: before the first event."""

    def __init__(self, api: ApiClient, id: str, cursor: str, table: ProgressTable) -> None:
        self._api = api
        self._id = id
        self._cursor = cursor
        self._table = table
        self._details: dict[str | None, Answer] = {}

    def poll(self) -> tuple[str, list[Row]]:
        """Returns the registration's state, and the rows that are new or have changed.

        Raises ApiUnavailable or UnreadableAnswer.
        """
        registration = self._api.get(path_of("registrations", self._id))
        state, jobs = required_text(registration, "state"), required_records(registration, "jobs")
        self._read_events(self._table.newly_ended(jobs))
        return state, self._table.update(jobs, self._details)

    def _read_events(self, ended: set[str | None]) -> None:
        """Reads events until each ended job has its own, or there are no more; never those before the command."""
        while ended - self._details.keys():
            page = self._api.get("/v1/events", {"after": self._cursor, "limit": EVENTS_PAGE_SIZE})
            items = records(page.get("items"))
            for data in (record(event.get("data")) for event in items):
                job = record(data.get("job"))
                if job and data.get("registration_id") == self._id:
                    self._details[exact_text(job.get("job_id"))] = job
            cursor = exact_text(page.get("next_cursor"))
            if not items or cursor in (None, self._cursor):
                return  # the details are only for show
            self._cursor = cursor


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]…")
@click.option("--request", "request_id", help="Watches all jobs of this CPH request.")
@click.option("--registration", "registration_id", help="Watches the jobs of an existing registration.")
@click.option("--project", help="CPH project; optional if there is only one.")
@click.option("--timeout", type=Duration(), help="Maximum time to wait: 90s, 45m, 12h, 7d.")
@click.option("--keep", is_flag=True, help="Does not cancel the registration if the command ends early.")
@as_json
@calls_api
def watch(api: ApiClient, timeout: timedelta | None, keep: bool, as_json: bool, **target: Any) -> None:
    """Waits until all JOBs have ended.

    Exit codes: 0 all succeeded; 1 some failed, were lost or are overdue; 124 --timeout passed; 130 Ctrl-C; 2 the jobs
    could not be watched (usage, key, API unavailable). Registers without callback_url, so no callback has to reach
    this machine.
    """
    _check_usage(**target)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: cancels the registration
    until = time.monotonic() + timeout.total_seconds() if timeout else None
    table = ProgressTable(time.monotonic)
    try:
        cursor = required_text(api.get("/v1/events", {"after": "latest", "limit": 1}), "next_cursor")
        watched = _register(api, timeout=timeout, keep=keep, **target)
    except ApiUnavailable as error:
        raise OperatorError(str(error)) from None
    with _progress(table, as_json=as_json) as show:
        try:
            result = _follow(ProgressReader(api, watched.id, cursor, table), table, show, until)
        except KeyboardInterrupt:
            result = Result.INTERRUPTED
    if as_json:
        echo_json({"registration_id": watched.id, "result": result.name.lower(), "jobs": table.counts()})
    elif not sys.stdout.isatty():
        click.echo(table.summary())
    if result in (Result.TIMED_OUT, Result.INTERRUPTED):
        _stop(api, watched, result)
    raise SystemExit(result)


def _check_usage(
    *, jobs: tuple[str, ...], request_id: str | None, registration_id: str | None, project: str | None
) -> None:
    if bool(jobs) + bool(request_id) + bool(registration_id) != 1:
        raise click.UsageError("name what to watch: jobs, or --request, or --registration")
    if registration_id and project:
        raise click.UsageError("a registration already has a project: omit --project")


def _register(
    api: ApiClient,
    *,
    jobs: tuple[str, ...],
    request_id: str | None,
    registration_id: str | None,
    project: str | None,
    timeout: timedelta | None,
    keep: bool,
) -> WatchTarget:
    if registration_id:
        return WatchTarget(registration_id, keep=True, resume_arguments=("--registration", registration_id))
    body: dict[str, Any] = {"request_id": request_id} if request_id else {"job_ids": list(dict.fromkeys(jobs))}
    if project:
        body["project"] = project
    if timeout:
        body["deadline_s"] = min(max(int(timeout.total_seconds()) + DEADLINE_MARGIN_S, MIN_DEADLINE_S), MAX_DEADLINE_S)
    id = required_text(api.call("POST", "/v1/registrations", body), "id")
    if keep:
        return WatchTarget(id, keep=True, resume_arguments=("--registration", id))
    target_arguments = ("--request", request_id) if request_id else jobs[:MAX_NAMED_JOBS]
    project_arguments = ("--project", project) if project else ()
    return WatchTarget(id, keep=False, resume_arguments=(*target_arguments, *project_arguments))


def _follow(
    reader: ProgressReader, table: ProgressTable, show: Callable[[Iterable[Row]], None], until: float | None
) -> Result:
    """Polls until all jobs have ended or time is up. Retries while the API is unavailable."""
    delays = retry_delays()
    while True:
        try:
            state, changed = reader.poll()
        except (ApiUnavailable, UnreadableAnswer) as error:
            delay = max(next(delays), error.retry_after if isinstance(error, ApiUnavailable) else timedelta())
            table.note = str(error)
            show(())
        else:
            delays, delay, table.note = retry_delays(), POLL_INTERVAL, ""
            show(changed)
            if state == RegistrationState.FINISHED or (state not in STATES and table.all_ended):
                return Result.SUCCEEDED if table.all_succeeded else Result.FAILED
            if state == RegistrationState.CANCELLED:
                click.echo("the registration was cancelled: its jobs are no longer watched", err=True)
                return Result.FAILED
        left = until - time.monotonic() if until else delay.total_seconds()
        if left <= 0:
            return Result.TIMED_OUT
        time.sleep(min(left, delay.total_seconds()))


@contextmanager
def _progress(table: ProgressTable, *, as_json: bool) -> Iterator[Callable[[Iterable[Row]], None]]:
    """Yields the function that shows changed rows."""
    if sys.stdout.isatty() and not as_json:
        with Live(table, console=Console(highlight=False), refresh_per_second=FRAMES_PER_SECOND):
            yield lambda _: None
        return
    last_note = ""

    def show(changed: Iterable[Row]) -> None:
        nonlocal last_note
        if table.note and table.note != last_note:
            click.echo(table.note, err=True)
        last_note = table.note
        for item in table.dicts(changed) if as_json else ():
            echo_json(item)
        for line in () if as_json else table.lines(changed):
            click.echo(line)

    yield show


def _stop(api: ApiClient, watched: WatchTarget, result: Result) -> None:
    """Cancels the registration unless it is to be kept; prints the command to resume."""
    outcome = f"{watched.id} continues"
    if not watched.keep:
        outcome = f"{watched.id} is cancelled"
        try:
            api.call("DELETE", path_of("registrations", watched.id))
        except BridgeError as error:
            outcome = f"{watched.id} could not be cancelled and ends by itself: {error}"
    reason = "timed out" if result is Result.TIMED_OUT else "interrupted"
    click.echo(f"{reason}; {outcome}. To resume: cph-bridge watch {shlex.join(watched.resume_arguments)}", err=True)
