"""`cph-bridge registrations`: lists, shows and cancels registrations."""

from collections import Counter
from typing import Any

import click

from app.cli.answers import Answer, counts_of, records
from app.cli.api_client import ApiClient, path_of
from app.cli.options import as_json, calls_api, limit
from app.cli.output import printable, show_list, show_one
from app.domain.registration import RegistrationState

STATES = [state.value for state in RegistrationState]
COLUMNS = ("id", "state", "project", "jobs", "callback_url", "deliveries", "created_at")
JOB_COLUMNS = ("job_id", "state")


@click.group()
def registrations() -> None:
    """Registrations: list, show, cancel."""


@registrations.command("list")
@click.option("--state", type=click.Choice(STATES))
@click.option("--job", "job_id", help="Only registrations of this job.")
@click.option("--request", "request_id", help="Only registrations of this CPH request.")
@click.option("--project")
@limit
@as_json
@calls_api
def show_all(api: ApiClient, limit: int, as_json: bool, **filters: str | None) -> None:
    """Lists registrations, newest first."""
    items = api.items("/v1/registrations", filters, limit)
    show_list(items if as_json else map(_summary, items), COLUMNS, as_json=as_json)


@registrations.command()
@click.argument("id")
@as_json
@calls_api
def show(api: ApiClient, id: str, as_json: bool) -> None:
    """Shows a registration with its jobs."""
    show_one(api.get(path_of("registrations", id)), as_json=as_json, lists={"jobs": JOB_COLUMNS})


@registrations.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID…")
@calls_api
def cancel(api: ApiClient, ids: tuple[str, ...]) -> None:
    """Cancels registrations. After the command returns, no callback is sent."""
    for id in ids:
        api.call("DELETE", path_of("registrations", id))
        click.echo(f"{id} is cancelled")


def _summary(item: Answer) -> dict[str, Any]:
    """Replaces lists with counts."""
    states = Counter(printable(job.get("state")) for job in records(item.get("jobs")))
    return {**item, "jobs": counts_of(states), "deliveries": counts_of(item.get("deliveries"))}
