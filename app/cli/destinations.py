"""`cph-bridge destinations`: where callbacks go, held and let go."""

import click

from app.cli.api_client import ApiClient, path_of
from app.cli.options import as_json, calls_api, limit
from app.cli.output import echo_json, show_list, show_one

COLUMNS = ("id", "destination", "state", "breaker", "failures", "deliveries", "last_answer_at", "next_try_at")


@click.group()
def destinations() -> None:
    """Where callbacks go: list, show, pause, resume, discard."""


@destinations.command("list")
@limit
@as_json
@calls_api
def show_all(api: ApiClient, limit: int, as_json: bool) -> None:
    """Destinations, by address."""
    show_list(api.items("/v1/destinations", {}, limit), COLUMNS, as_json=as_json)


@destinations.command()
@click.argument("id")
@as_json
@calls_api
def show(api: ApiClient, id: str, as_json: bool) -> None:
    """One destination."""
    show_one(api.get(path_of("destinations", id)), as_json=as_json)


@destinations.command()
@click.argument("id")
@as_json
@calls_api
def pause(api: ApiClient, id: str, as_json: bool) -> None:
    """Holds its deliveries: no attempt starts from now on."""
    show_one(api.call("POST", path_of("destinations", id, "pause"), {}), as_json=as_json)


@destinations.command()
@click.argument("id")
@as_json
@calls_api
def resume(api: ApiClient, id: str, as_json: bool) -> None:
    """Sends what is held; tries one that fails at once."""
    show_one(api.call("POST", path_of("destinations", id, "resume"), {}), as_json=as_json)


@destinations.command()
@click.argument("id")
@click.confirmation_option(prompt="What it holds will not be sent unless it is redelivered. Go on?")
@as_json
@calls_api
def discard(api: ApiClient, id: str, as_json: bool) -> None:
    """Gives up what it holds: those deliveries are dead, and can be redelivered."""
    done = api.call("POST", path_of("destinations", id, "discard"), {})
    if as_json:
        echo_json(done)
    else:
        click.echo(f"{done['discarded']} are dead now")
