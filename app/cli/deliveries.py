"""`cph-bridge deliveries`: the log of callbacks, and once more."""

from datetime import datetime
from typing import Any

import click

from app.cli.api_client import ApiClient, path_of
from app.cli.options import as_json, calls_api, limit
from app.cli.output import echo_json, show_list, show_one
from app.cli.times import Moment
from app.domain.delivery import DeliveryState

COLUMNS = ("id", "state", "type", "job_id", "destination", "attempt_count", "created_at", "next_at", "reason")
ATTEMPT_COLUMNS = ("number", "started_at", "took_ms", "verdict", "status_code", "error", "next_at")
STATES = [state.value for state in DeliveryState]

registration = click.option("--registration", "registration_id", help="Only those of this registration.")
destination = click.option("--destination", help="Only those to it, as it is shown: scheme, host and port.")
since = click.option("--since", type=Moment(), help="2h ago or later, or since 2026-04-26T07:00:00Z.")
until = click.option("--until", type=Moment(), help="Before that.")


@click.group()
def deliveries() -> None:
    """The log of callbacks: list, show, redeliver."""


@deliveries.command("list")
@click.option("--state", type=click.Choice(STATES))
@registration
@destination
@since
@until
@limit
@as_json
@calls_api
def show_all(api: ApiClient, limit: int, as_json: bool, **filters: str | datetime | None) -> None:
    """Deliveries, newest first."""
    show_list(api.items("/v1/deliveries", _written(filters), limit), COLUMNS, as_json=as_json)


@deliveries.command()
@click.argument("id")
@as_json
@calls_api
def show(api: ApiClient, id: str, as_json: bool) -> None:
    """One delivery with its attempts."""
    show_one(api.get(path_of("deliveries", id)), as_json=as_json, lists={"attempts": ATTEMPT_COLUMNS})


@deliveries.command()
@click.argument("ids", nargs=-1, metavar="[ID]…")
@registration
@destination
@since
@until
@click.option("--all", "everything", is_flag=True, help="All that are dead.")
@click.option("--dry-run", is_flag=True, help="Only says how many.")
@as_json
@calls_api
def redeliver(
    api: ApiClient,
    ids: tuple[str, ...],
    everything: bool,
    dry_run: bool,
    as_json: bool,
    **filters: str | datetime | None,
) -> None:
    """Sends once more: those that are named, or the dead ones that the options tell."""
    given = {name: value for name, value in _written(filters).items() if value is not None}
    if bool(ids) + bool(given) + everything != 1:
        raise click.UsageError("say which: ids, or options such as --since 2h, or --all")
    if ids and dry_run:
        raise click.UsageError("--dry-run counts what the options tell, not ids")
    if ids:
        _one_by_one(api, ids, as_json=as_json)
        return
    done = api.call("POST", "/v1/deliveries/redeliver", {"state": "dead", "dry_run": dry_run, **given})
    if as_json:
        echo_json(done)
    else:
        click.echo(f"{done['count']} {'would be sent' if dry_run else 'will be sent'} once more")


def _one_by_one(api: ApiClient, ids: tuple[str, ...], *, as_json: bool) -> None:
    for id in ids:
        delivery = api.call("POST", path_of("deliveries", id, "redeliver"), {})
        if as_json:
            echo_json(delivery)
        else:
            click.echo(f"{id} will be sent once more")


def _written(filters: dict[str, Any]) -> dict[str, str | None]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in filters.items()}
