"""`cph-bridge listen`: receives events over the API's stream, which also works where no callback can get in."""

import json
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from app.cli.api_client import ApiClient, Away, waits
from app.cli.exit_codes import INTERRUPTED
from app.cli.options import as_json, calls_api
from app.cli.output import end_with_reader, printable
from app.cli.sse import ServerSentEvent
from app.cli.times import now
from app.cli.urls import is_url
from app.domain import signature
from app.domain.errors import OperatorError
from app.domain.signature import Signer
from app.domain.verdict import Verdict, by_status
from app.transport.client import Transport
from app.transport.unreachable import Unreachable
from app.version import VERSION

DEADLINE = timedelta(seconds=30)
LONG_S = 30.0  # a connection that has lasted so long was a good one
REFUSED_TRIES = 3
LATEST, OLDEST = "latest", "oldest"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Forward:
    """A receiver that gets what a callback would have brought. signers: none if it does not verify."""

    url: str
    signers: tuple[Signer, ...] = field(repr=False)
    transport: Transport = field(default_factory=Transport)

    def post(self, id: str, body: bytes, number: int) -> tuple[Verdict, str]:
        """One try: its verdict, and the answer in words."""
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
class Place:
    """Behind it are events that have not been passed on; '' is before all. A file keeps it, if there is one."""

    cursor: str
    file: Path | None

    def move(self, cursor: str) -> None:
        self.cursor = cursor
        if self.file:
            # Renamed, so that it is never half written.
            beside = self.file.with_name(self.file.name + ".new")
            try:
                beside.write_text(cursor + "\n", encoding="ascii")
                beside.replace(self.file)
            except OSError as error:
                raise OperatorError(f"--state: {self.file} cannot be written: {error.strerror}") from None


def _is_secret(_context: click.Context, _option: click.Parameter, secret: str | None) -> tuple[Signer, ...]:
    try:
        return (signature.by_secret(secret),) if secret else ()
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option("--forward", callback=is_url, metavar="URL", help="Posts each event there, as a callback would come.")
@click.option(
    "--secret",
    "signers",
    callback=_is_secret,
    envvar="BRIDGE_FORWARD_SECRET",
    show_envvar=True,
    help="Signs it: whsec_…",
)
@click.option("--after", default=LATEST, show_default=True, help="A cursor; `oldest` for all that is kept.")
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), help="File to go on from after a restart.")
@as_json
@calls_api
def listen(
    api: ApiClient, *, forward: str | None, signers: tuple[Signer, ...], after: str, state: Path | None, as_json: bool
) -> None:
    """Receives events and prints them, or forwards them to a receiver on this machine.

    It goes on until Ctrl-C, reconnects by itself, and misses no event in between. An event is forwarded until the
    receiver takes it; one that it refuses, three times.
    """
    if signers and not forward:
        raise click.UsageError("--secret signs what --forward posts")
    end_with_reader()
    hand_on = _forwarding(Forward(forward, signers)) if forward else _printing(as_json=as_json)
    place = _place(after, state)
    try:
        _begin(api, place)
        _receive(api, place, hand_on)
    except KeyboardInterrupt:
        go_on = ("--state", str(state)) if state else ("--after", place.cursor or OLDEST)
        click.echo(f"To go on: cph-bridge listen {shlex.join(go_on)}", err=True)
        raise SystemExit(INTERRUPTED) from None


def _place(after: str, state: Path | None) -> Place:
    """Where to begin."""
    try:
        known = state.read_text(encoding="ascii").strip() if state and state.exists() else ""
    except (OSError, ValueError):
        raise OperatorError(f"--state: {state} cannot be read") from None
    return Place(known or ("" if after == OLDEST else after), state)


def _begin(api: ApiClient, place: Place) -> None:
    """`latest` is looked up once: anew, it would pass what came while nobody was connected."""
    page = api.get("/v1/events", {"limit": 1, "after": place.cursor or None})
    if place.cursor == LATEST:
        place.move(page["next_cursor"])


def _receive(api: ApiClient, place: Place, hand_on: Callable[[ServerSentEvent], None]) -> None:
    """For ever."""
    pauses, said = waits(), ""
    while True:
        begun = time.monotonic()
        try:
            with api.events(place.cursor) as messages:
                if said:
                    click.echo("connected again", err=True)
                said = ""
                for message in messages:
                    hand_on(message)
                    place.move(message.id)
            wait = next(pauses)
        except Away as error:
            wait = max(next(pauses), error.retry_after)
            if str(error) != said:
                click.echo(f"{error}; trying again", err=True)
            said = str(error)
        if time.monotonic() - begun > LONG_S:
            pauses = waits()
        time.sleep(wait.total_seconds())


def _printing(*, as_json: bool) -> Callable[[ServerSentEvent], None]:
    def show(message: ServerSentEvent) -> None:
        click.echo(message.data if as_json else _line(json.loads(message.data)))

    return show


def _line(event: dict[str, Any]) -> str:
    """`2019-04-26T07:00:08Z  job.failed  <job>  <phone>  CPS.0005: no such phone`"""
    data = event["data"]
    job, group = data.get("job") or {}, data.get("group")
    error = ": ".join(filter(None, (job.get("error_code"), job.get("error_msg"))))
    counted = ", ".join(f"{number} {name}" for name, number in (group or {}).items() if number)
    about = (job.get("job_id"), job.get("phone_id"), error, group and data["registration_id"], counted)
    return "  ".join(printable(each) for each in (event["timestamp"], event["type"], *about) if each)


def _forwarding(forward: Forward) -> Callable[[ServerSentEvent], None]:
    def post(message: ServerSentEvent) -> None:
        event = json.loads(message.data)
        head = f"{event['id']}  {event['type']}"
        for number, wait in enumerate(waits(), start=1):
            verdict, answer = forward.post(event["id"], message.data, number)
            if verdict is Verdict.DELIVERED:
                click.echo(f"{head}  {answer}")
                return
            if verdict is not Verdict.RETRY and number >= REFUSED_TRIES:
                click.echo(f"{head}  {answer} {number} times: given up", err=True)
                return
            click.echo(f"{head}  {answer}, trying again", err=True)
            time.sleep(wait.total_seconds())

    return post
