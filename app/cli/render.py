"""`cph-bridge render`: prints the message for an event without sending it."""

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
@click.option("--link", help="URL with placeholders such as {job_id}; default: BRIDGE_LINK.")
@click.option("--check", is_flag=True, help="Prints only sizes. Without files: of a sample of every event.")
@click.argument("files", nargs=-1, type=click.File(encoding="utf-8-sig"))
def render(name: str, language: str, link: str | None, check: bool, files: Sequence[TextIO]) -> None:
    """Prints the message body for the event in FILES; several files give one digest. Prints the size on stderr."""
    settings = load()
    form = Runtime(settings).config.format_catalog.find(name)
    if form is None:
        known = ", ".join(Runtime(settings).config.format_catalog.names[1:])
        raise OperatorError(f"unknown format {name!r}; known formats: {known}")
    try:
        links.check(link or "https://nowhere.example")
    except InvalidField as error:
        raise OperatorError(f"--link: {'; '.join(filter(None, (error.detail, error.hint)))}") from None
    options = MessageOptions(URL, None, Language(language), link or settings.link)
    events = [read_event(file) for file in files]
    if len(events) > form.digest:
        raise OperatorError(f"{name} takes at most {form.digest} events in one message; {len(events)} were given")
    if not events and not check:
        raise OperatorError("give a file with an event, or - for stdin; --check alone tries a sample of every event")
    for message in [events] if events else [[sample] for sample in SAMPLES]:
        _show(form, message, options, body=not check)


def _show(form: Format, events: Sequence[Event], options: MessageOptions, *, body: bool) -> None:
    outgoing = form.render(events, options, AT)
    if body:
        click.echo(outgoing.body)
    subject = events[0].type if len(events) == 1 else f"{len(events)} events"
    limit = f"at most {form.limit}" if form.limit else "no limit is known"
    click.echo(f"{subject}: {len(outgoing.body):,} bytes; {limit}", err=True)
