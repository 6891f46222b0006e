"""`cph-bridge destinations`: lists, pauses, resumes and discards deliveries by destination."""

import click

from app.cli.answers import required_count
from app.cli.api_client import ApiClient, path_of
from app.cli.options import as_json, calls_api, limit
from app.cli.output import echo_json, show_list, show_one

COLUMNS = ("id", "destination", "state", "breaker", "failures", "deliveries", "last_answer_at", "next_try_at")


@click.group()
def destinations() -> None:
    """Destinations of callbacks: list, show, pause, resume, discard."""


@destinations.command("list")
@limit
@as_json
@calls_api
def show_all(api: ApiClient, limit: int, as_json: bool) -> None:
    """Lists destinations, by address."""
    show_list(api.items("/v1/destinations", {}, limit), COLUMNS, as_json=as_json)


@destinations.command()
@click.argument("id")
@as_json
@calls_api
def show(api: ApiClient, id: str, as_json: bool) -> None:
    """Shows a destination."""
    show_one(api.get(path_of("destinations", id)), as_json=as_json)


@destinations.command()
@click.argument("id")
@as_json
@calls_api
def pause(api: ApiClient, id: str, as_json: bool) -> None:
    """Puts deliveries to a destination on hold: no new attempt starts."""
    show_one(api.call("POST", path_of("destinations", id, "pause"), {}), as_json=as_json)


@destinations.command()
@click.argument("id")
@as_json
@calls_api
def resume(api: ApiClient, id: str, as_json: bool) -> None:
    """Resumes deliveries to a destination. If its breaker is open, one attempt starts at once."""
    show_one(api.call("POST", path_of("destinations", id, "resume"), {}), as_json=as_json)


@destinations.command()
@click.argument("id")
@click.confirmation_option(prompt="Deliveries on hold will be dead until they are redelivered. Continue?")
@as_json
@calls_api
def discard(api: ApiClient, id: str, as_json: bool) -> None:
    """Marks deliveries on hold as dead; they can be redelivered."""
    result = api.call("POST", path_of("destinations", id, "discard"), {})
    if as_json:
        echo_json(result)
    else:
        click.echo(f"{required_count(result, 'discarded')} discarded")
