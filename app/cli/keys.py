"""Commands that make keys. What they print on stdout is the key, and nothing else."""

import base64
import re
import secrets
from datetime import timedelta

import click

from app.domain.access import Scope
from app.runtime import Runtime
from app.settings import KEY_BYTES, load

# A tenant is part of names in Redis and of places of sealed values, so neither `:` nor `|`.
TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SCOPES = [scope.value for scope in Scope]
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
LIFE = re.compile(r"([1-9][0-9]{0,5})([smhd])")


class Life(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        match = LIFE.fullmatch(value)
        if not match:
            self.fail(f"{value} is not a duration such as 30d, 12h, 45m or 90s", param, ctx)
        return timedelta(**{UNITS[match[2]]: int(match[1])})


def _plain(_context: click.Context, _option: click.Parameter, tenant: str) -> str:
    if not TENANT.fullmatch(tenant):
        raise click.BadParameter("1 to 64 letters, digits, dots, underscores and hyphens")
    return tenant


@click.group()
def keys() -> None:
    """API keys."""


@keys.command()
@click.option("--tenant", required=True, callback=_plain, help="Whose key it is.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="Default: all but admin.",
)
@click.option("--expires-in", "life", type=Life(), help="30d, 12h, 45m, 90s; never when left out.")
def create(tenant: str, scopes: tuple[str, ...], life: timedelta | None) -> None:
    """Makes a key and prints it, this once."""
    runtime = Runtime(load())
    granted = frozenset(map(Scope, scopes)) or frozenset(Scope) - {Scope.ADMIN}
    click.echo(runtime.api_keys.create(tenant, granted, runtime.clock(), life))


@keys.command()
@click.argument("id")
def revoke(id: str) -> None:
    """Ends a key at once. ID is the middle part of cphb_ID_…"""
    if not Runtime(load()).api_keys.revoke(id):
        raise click.ClickException("there is no such key")


@click.command()
def secret_key() -> None:
    """Prints a fresh key for BRIDGE_SECRET_KEYS, or for BRIDGE_SIGNING_KEYS."""
    click.echo(f"k{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}")
