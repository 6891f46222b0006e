"""`cph-bridge deliveries`: lists and shows deliveries, and redelivers them."""

from datetime import datetime
from typing import Any

import click

from app.cli.answers import required_count
from app.cli.api_client import ApiClient, path_of
from app.cli.options import as_json, calls_api, limit
from app.cli.output import echo_json, show_list, show_one
from app.cli.times import Moment
from app.domain.delivery import DeliveryState

COLUMNS = ("id", "state", "type", "job_id", "destination", "attempt_count", "created_at", "next_at", "reason")
ATTEMPT_COLUMNS = ("number", "started_at", "took_ms", "verdict", "status_code", "error", "next_at")
STATES = [state.value for state in DeliveryState]

registration = click.option("--registration", "registration_id", help="Only deliveries of this registration.")
destination = click.option(
    "--destination", help="Only deliveries to this destination, as it is listed: scheme, host and port."
)
since = click.option("--since", type=Moment(), help="Created at this time or later: 2h (ago) or 2026-04-26T07:00:00Z.")
until = click.option("--until", type=Moment(), help="Created before this time.")


@click.group()
def deliveries() -> None:
    """Deliveries of callbacks: list, show, redeliver."""


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
    """Lists deliveries, newest first."""
    show_list(api.items("/v1/deliveries", _as_query(filters), limit), COLUMNS, as_json=as_json)


@deliveries.command()
@click.argument("id")
@as_json
@calls_api
def show(api: ApiClient, id: str, as_json: bool) -> None:
    """Shows a delivery with its attempts."""
    show_one(api.get(path_of("deliveries", id)), as_json=as_json, lists={"attempts": ATTEMPT_COLUMNS})


@deliveries.command()
@click.argument("ids", nargs=-1, metavar="[ID]…")
@registration
@destination
@since
@until
@click.option("--all", "everything", is_flag=True, help="Redelivers all dead deliveries.")
@click.option("--dry-run", is_flag=True, help="Only prints the count.")
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
    """Redelivers the given deliveries, or the dead ones that match the options."""
    selected = {name: value for name, value in _as_query(filters).items() if value is not None}
    if bool(ids) + bool(selected) + everything != 1:
        raise click.UsageError("name the deliveries: ids, or options such as --since 2h, or --all")
    if ids and dry_run:
        raise click.UsageError("--dry-run works with options, not with ids")
    if ids:
        _one_by_one(api, ids, as_json=as_json)
        return
    result = api.call("POST", "/v1/deliveries/redeliver", {"state": "dead", "dry_run": dry_run, **selected})
    if as_json:
        echo_json(result)
    else:
        click.echo(f"{required_count(result, 'count')} {'would' if dry_run else 'will'} be redelivered")


def _one_by_one(api: ApiClient, ids: tuple[str, ...], *, as_json: bool) -> None:
    for id in ids:
        delivery = api.call("POST", path_of("deliveries", id, "redeliver"), {})
        if as_json:
            echo_json(delivery)
        else:
            click.echo(f"{id} will be redelivered")


def _as_query(filters: dict[str, Any]) -> dict[str, str | None]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in filters.items()}
