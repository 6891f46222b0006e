"""`cph-bridge render`: what would be sent, before anybody is told."""

from collections.abc import Sequence
from typing import TextIO

import click

from app.bootstrap.runtime import Runtime
from app.cli.event_file import read_event
from app.config.settings import load
from app.domain.errors import InvalidField, OperatorError
from app.domain.event import Event
from app.formats import links
from app.formats.format import Format, Language, MessageOptions
from app.formats.samples import AT, SAMPLES

URL = "https://receiver.example/?chat_id=0"


@click.command()
@click.option("--format", "name", required=True, help="slack, dingtalk, …, or template:<name>.")
@click.option("--language", type=click.Choice([each.value for each in Language]), default=Language.EN.value)
@click.option("--link", help="URL with {job_id} and the like; default: BRIDGE_LINK.")
@click.option("--check", is_flag=True, help="Prints sizes only. Without a file: of samples of every event.")
@click.argument("files", nargs=-1, type=click.File(encoding="utf-8"))
def render(name: str, language: str, link: str | None, check: bool, files: Sequence[TextIO]) -> None:
    """Prints the body of the message about the events in FILES, of several the digest, and on stderr its size."""
    settings = load()
    found = Runtime(settings).config.format_catalog.find(name)
    if found is None:
        known = ", ".join(Runtime(settings).config.format_catalog.names[1:])
        raise OperatorError(f"there is no format {name!r}; there are: {known}")
    try:
        links.check(link or "https://nowhere.example")
    except InvalidField as error:
        raise OperatorError(f"--link: {'; '.join(filter(None, (error.detail, error.hint)))}") from None
    wishes = MessageOptions(URL, None, Language(language), link or settings.link)
    events = [read_event(file) for file in files]
    if len(events) > found.digest:
        raise OperatorError(f"{name} tells of at most {found.digest} in one message, here are {len(events)}")
    if not events and not check:
        raise OperatorError("name a file with an event, or - for stdin; --check alone tries samples of every event")
    for message in [events] if events else [[sample] for sample in SAMPLES]:
        _show(found, message, wishes, body=not check)


def _show(form: Format, events: Sequence[Event], wishes: MessageOptions, *, body: bool) -> None:
    outgoing = form.render(events, wishes, AT)
    if body:
        click.echo(outgoing.body)
    about = events[0].type if len(events) == 1 else f"{len(events)} events"
    limit = f"at most {form.limit}" if form.limit else "no limit is known"
    click.echo(f"{about}: {len(outgoing.body):,} bytes; {limit}", err=True)
