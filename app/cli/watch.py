"""`cph-bridge watch`: waits for the end of jobs, and says by its exit code how they ended."""

import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from app.cli import exit_codes
from app.cli.api_client import ApiClient, Away, path_of, waits
from app.cli.options import as_json, calls_api
from app.cli.output import echo_json
from app.cli.progress_table import Board, Row
from app.cli.times import Duration
from app.domain.errors import BridgeError, OperatorError
from app.domain.registration import RegistrationState

LOOK_EVERY = timedelta(seconds=1)
FRAMES_A_SECOND = 4
MOST_EVENTS = 200
SHORTEST_S, LONGEST_S = 10, 604_800  # that the API takes as a deadline
MARGIN_S = 60  # a deadline is later than --timeout: what is only late must not be called overdue
FEW_JOBS = 10  # so many are named when it says how to go on


class Result(IntEnum):
    """How the command ends."""

    SUCCEEDED = 0
    FAILED = 1
    TIMED_OUT = exit_codes.TIMED_OUT
    INTERRUPTED = exit_codes.INTERRUPTED


@dataclass(frozen=True, slots=True)
class WatchTarget:
    """leave: it is not ours, or is to be kept, and so must not be cancelled. again: the arguments to go on with."""

    id: str
    leave: bool
    again: tuple[str, ...]


class Follower:
    """Looks how a registration fares; its feed says more about jobs that have ended. cursor: before the first event."""

    def __init__(self, api: ApiClient, id: str, cursor: str, board: Board) -> None:
        self._api = api
        self._id = id
        self._cursor = cursor
        self._board = board
        self._about: dict[str | None, Mapping[str, Any]] = {}

    def poll(self) -> tuple[RegistrationState, list[Row]]:
        """Its state, and the jobs that are new or have changed. Away if the API cannot be asked."""
        seen = self._api.get(path_of("registrations", self._id))
        self._read_events(self._board.ended(seen["jobs"]))
        return RegistrationState(seen["state"]), self._board.see(seen["jobs"], self._about)

    def _read_events(self, ended: set[str | None]) -> None:
        """Until these are there, or nothing more is: events of before the command are not read."""
        while ended - self._about.keys():
            page = self._api.get("/v1/events", {"after": self._cursor, "limit": MOST_EVENTS})
            self._cursor = page["next_cursor"]
            for data in (event["data"] for event in page["items"]):
                if data["registration_id"] == self._id and "job" in data:
                    self._about[data["job"]["job_id"]] = data["job"]
            if not page["items"]:
                return


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]…")
@click.option("--request", "request_id", help="All jobs of this CPH request.")
@click.option("--registration", "registration_id", help="Those of a registration that is there already.")
@click.option("--project", help="May be left out if there is just one.")
@click.option("--timeout", type=Duration(), help="How long to wait at most: 90s, 45m, 12h, 7d.")
@click.option("--keep", is_flag=True, help="Does not cancel the registration when it ends early.")
@as_json
@calls_api
def watch(api: ApiClient, timeout: timedelta | None, keep: bool, as_json: bool, **wish: Any) -> None:
    """Waits until all JOBs have ended.

    Ends with 0 if all succeeded; 1 if some failed, were lost or are overdue; 124 if --timeout passed first; 130 after
    Ctrl-C; 2 if they could not be watched: usage, key, an API that is away. It registers without callback_url: nothing
    has to reach this machine.
    """
    _check_usage(**wish)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: it cancels what it has registered
    until = time.monotonic() + timeout.total_seconds() if timeout else None
    board = Board(time.monotonic)
    try:
        cursor = api.get("/v1/events", {"after": "latest", "limit": 1})["next_cursor"]
        watched = _begin(api, timeout=timeout, keep=keep, **wish)
    except Away as error:
        raise OperatorError(str(error)) from None
    with _screen(board, as_json=as_json) as show:
        try:
            result = _follow(Follower(api, watched.id, cursor, board), board, show, until)
        except KeyboardInterrupt:
            result = Result.INTERRUPTED
    if as_json:
        echo_json({"registration_id": watched.id, "result": result.name.lower(), "jobs": board.counts()})
    elif not sys.stdout.isatty():
        click.echo(board.summary())
    if result in (Result.TIMED_OUT, Result.INTERRUPTED):
        _leave(api, watched, result)
    raise SystemExit(result)


def _check_usage(
    *, jobs: tuple[str, ...], request_id: str | None, registration_id: str | None, project: str | None
) -> None:
    if bool(jobs) + bool(request_id) + bool(registration_id) != 1:
        raise click.UsageError("say what to watch: jobs, or --request, or --registration")
    if registration_id and project:
        raise click.UsageError("a registration is of one project already: leave out --project")


def _begin(
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
        return WatchTarget(registration_id, leave=True, again=("--registration", registration_id))
    wish: dict[str, Any] = {"request_id": request_id} if request_id else {"job_ids": list(dict.fromkeys(jobs))}
    if project:
        wish["project"] = project
    if timeout:
        wish["deadline_s"] = min(max(int(timeout.total_seconds()) + MARGIN_S, SHORTEST_S), LONGEST_S)
    id = api.call("POST", "/v1/registrations", wish)["id"]
    if keep:
        return WatchTarget(id, leave=True, again=("--registration", id))
    what = ("--request", request_id) if request_id else jobs[:FEW_JOBS]
    return WatchTarget(id, leave=False, again=(*what, *(("--project", project) if project else ())))


def _follow(follower: Follower, board: Board, show: Callable[[Iterable[Row]], None], until: float | None) -> Result:
    """Until all have ended, or the time is up. An API that is away comes back."""
    pauses = waits()
    while True:
        try:
            state, changed = follower.poll()
        except Away as error:
            wait = max(next(pauses), error.retry_after)
            board.note = str(error)
            show(())
        else:
            pauses, wait, board.note = waits(), LOOK_EVERY, ""
            show(changed)
            if state is RegistrationState.FINISHED:
                return Result.SUCCEEDED if board.all_succeeded else Result.FAILED
            if state is RegistrationState.CANCELLED:
                click.echo("the registration was cancelled: nothing more will be known", err=True)
                return Result.FAILED
        left = until - time.monotonic() if until else wait.total_seconds()
        if left <= 0:
            return Result.TIMED_OUT
        time.sleep(min(left, wait.total_seconds()))


@contextmanager
def _screen(board: Board, *, as_json: bool) -> Iterator[Callable[[Iterable[Row]], None]]:
    """What to call with the jobs that have changed."""
    if sys.stdout.isatty() and not as_json:
        with Live(board, console=Console(highlight=False), refresh_per_second=FRAMES_A_SECOND):
            yield lambda _: None
        return
    said = ""

    def show(changed: Iterable[Row]) -> None:
        nonlocal said
        if board.note and board.note != said:
            click.echo(board.note, err=True)
        said = board.note
        for item in board.dicts(changed) if as_json else ():
            echo_json(item)
        for line in () if as_json else board.lines(changed):
            click.echo(line)

    yield show


def _leave(api: ApiClient, watched: WatchTarget, result: Result) -> None:
    """What nobody waits for any more is cancelled; says how to go on."""
    fate = f"{watched.id} goes on"
    if not watched.leave:
        fate = f"{watched.id} is cancelled"
        try:
            api.call("DELETE", path_of("registrations", watched.id))
        except BridgeError as error:
            fate = f"{watched.id} could not be cancelled and ends by itself: {error}"
    words = "timed out" if result is Result.TIMED_OUT else "interrupted"
    click.echo(f"{words}; {fate}. To go on: cph-bridge watch {shlex.join(watched.again)}", err=True)
