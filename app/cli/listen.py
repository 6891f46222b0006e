"""`cph-bridge listen`: receives events over the API's stream, also where callbacks cannot reach the machine."""

import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import click

from app.cli.answers import Answer, UnreadableAnswer, counts_of, error_of, record, required_text
from app.cli.api_client import ApiClient, ApiUnavailable, retry_delays
from app.cli.exit_codes import INTERRUPTED
from app.cli.options import as_json, calls_api
from app.cli.output import echo_json, end_with_reader, printable
from app.cli.sse import ServerSentEvent
from app.cli.times import now
from app.cli.urls import check_url
from app.domain import signature
from app.domain.errors import OperatorError
from app.domain.foreign_json import exact_text, read_object
from app.domain.signature import Signer
from app.domain.verdict import Verdict, by_status
from app.transport.client import Transport
from app.transport.unreachable import Unreachable
from app.version import VERSION

DEADLINE = timedelta(seconds=30)
STABLE_AFTER_S = 30.0  # a connection that lasted longer resets the backoff
MAX_REFUSED_ATTEMPTS = 3
EVENT_ID = re.compile(r"[!-~]{1,200}")  # it becomes a header
LATEST, OLDEST = "latest", "oldest"


@dataclass(frozen=True, slots=True)
class Forwarder:
    """Posts events to a receiver as callbacks. signers: none for a receiver that does not verify."""

    url: str
    signers: tuple[Signer, ...] = field(repr=False)
    transport: Transport = field(default_factory=Transport)

    def post(self, id: str, body: bytes, number: int) -> tuple[Verdict, str]:
        """Makes one attempt. Returns its verdict, and a description of the response."""
        signed = signature.headers(self.signers, id, now(), body)
        headers = {
            "User-Agent": f"cph-webhook-bridge/{VERSION}",
            "Content-Type": "application/json",
            "Bridge-Attempt": str(number),
            **{name: value for name, value in signed.items() if value},
        }
        try:
            reply = self.transport.send("POST", self.url, headers=headers, body=body, deadline=DEADLINE)
        except Unreachable as error:
            return Verdict.RETRY, str(error)
        return by_status(reply.status), f"answered {reply.status}"


@dataclass(slots=True)
class Position:
    """The cursor of the last handled event, '' before the first. file: keeps it across restarts; may be None."""

    cursor: str
    file: Path | None

    def move(self, cursor: str) -> None:
        self.cursor = cursor
        if self.file:
            # Written by rename, so that it is never partial.
            temporary = self.file.with_name(self.file.name + ".new")
            try:
                temporary.write_text(cursor + "\n", encoding="ascii")
                temporary.replace(self.file)
            except OSError as error:
                raise OperatorError(f"--state: {self.file} cannot be written: {error.strerror}") from None


def _check_secret(_context: click.Context, _option: click.Parameter, secret: str | None) -> tuple[Signer, ...]:
    try:
        return (signature.by_secret(secret),) if secret else ()
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option("--forward", callback=check_url, metavar="URL", help="Posts each event to this URL, as a callback.")
@click.option(
    "--secret",
    "signers",
    callback=_check_secret,
    envvar="BRIDGE_FORWARD_SECRET",
    show_envvar=True,
    help="Signs the posted events: whsec_…",
)
@click.option("--after", default=LATEST, show_default=True, help="Cursor to start after; `oldest`: all stored events.")
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that keeps the cursor, to resume from after a restart.",
)
@as_json
@calls_api
def listen(
    api: ApiClient, *, forward: str | None, signers: tuple[Signer, ...], after: str, state: Path | None, as_json: bool
) -> None:
    """Receives events and prints them, or forwards them to a receiver on this machine.

    Runs until Ctrl-C, reconnects automatically, and misses no event in between. An event is forwarded until the
    receiver accepts it, or at most three times if the receiver refuses it.
    """
    if signers and not forward:
        raise click.UsageError("--secret needs --forward")
    end_with_reader()
    handle = _forwarding(Forwarder(forward, signers)) if forward else _printing(as_json=as_json)
    position = _start_position(after, state)
    try:
        _resolve_latest(api, position)
        _receive(api, position, handle)
    except KeyboardInterrupt:
        arguments = ("--state", str(state)) if state else ("--after", position.cursor or OLDEST)
        click.echo(f"To resume: cph-bridge listen {shlex.join(arguments)}", err=True)
        raise SystemExit(INTERRUPTED) from None


def _start_position(after: str, state: Path | None) -> Position:
    try:
        stored = state.read_text(encoding="ascii").strip() if state and state.exists() else ""
    except (OSError, ValueError):
        raise OperatorError(f"--state: {state} cannot be read") from None
    return Position(stored or ("" if after == OLDEST else after), state)


def _resolve_latest(api: ApiClient, position: Position) -> None:
    """Resolves `latest` once; again after a reconnect, it would skip events in between."""
    page = api.get("/v1/events", {"limit": 1, "after": position.cursor or None})
    if position.cursor == LATEST:
        position.move(required_text(page, "next_cursor"))


def _receive(api: ApiClient, position: Position, handle: Callable[[ServerSentEvent], None]) -> None:
    """Runs for ever: streams events and reconnects."""
    delays, last_error = retry_delays(), ""
    while True:
        started = time.monotonic()
        try:
            with api.events(position.cursor) as messages:
                if last_error:
                    click.echo("reconnected", err=True)
                last_error = ""
                for message in messages:
                    handle(message)
                    if message.id:
                        position.move(message.id)
            delay = next(delays)
        except (ApiUnavailable, UnreadableAnswer) as error:
            delay = max(next(delays), error.retry_after if isinstance(error, ApiUnavailable) else timedelta())
            if str(error) != last_error:
                click.echo(f"{error}; retrying", err=True)
            last_error = str(error)
        if time.monotonic() - started > STABLE_AFTER_S:
            delays = retry_delays()
        time.sleep(delay.total_seconds())


def _printing(*, as_json: bool) -> Callable[[ServerSentEvent], None]:
    def show(message: ServerSentEvent) -> None:
        event = read_object(message.data)
        if not event:
            _tell_skipped(message)
        elif as_json:
            echo_json(event)
        else:
            click.echo(_line(event))

    return show


def _tell_skipped(message: ServerSentEvent) -> None:
    click.echo(f"an event could not be read and is skipped; its cursor is {printable(message.id)}", err=True)


def _line(event: Answer) -> str:
    """Returns `2019-04-26T07:00:08Z  job.failed  <job>  <phone>  CPS.0005: no such phone`."""
    data = record(event.get("data"))
    job, counts = record(data.get("job")), counts_of(data.get("group"))
    registration = data.get("registration_id") if counts else None
    details = (job.get("job_id"), job.get("phone_id"), error_of(job), registration, counts)
    return "  ".join(printable(each) for each in (event.get("timestamp"), event.get("type"), *details) if each)


def _forwarding(forwarder: Forwarder) -> Callable[[ServerSentEvent], None]:
    def post(message: ServerSentEvent) -> None:
        event = read_object(message.data)
        id = exact_text(event.get("id"))
        if id is None or not EVENT_ID.fullmatch(id):
            _tell_skipped(message)
            return
        prefix = f"{id}  {printable(event.get('type'))}"
        for number, delay in enumerate(retry_delays(), start=1):
            verdict, answer = forwarder.post(id, message.data, number)
            if verdict is Verdict.DELIVERED:
                click.echo(f"{prefix}  {answer}")
                return
            if verdict is not Verdict.RETRY and number >= MAX_REFUSED_ATTEMPTS:
                click.echo(f"{prefix}  {answer}: gave up after {number} attempts", err=True)
                return
            click.echo(f"{prefix}  {answer}, retrying", err=True)
            time.sleep(delay.total_seconds())

    return post
