"""Commands that manage keys. A command that makes a key prints only the key on stdout."""

import base64
import secrets
from datetime import timedelta

import click

from app.bootstrap.runtime import Runtime
from app.cli.times import Duration
from app.config.settings import KEY_BYTES, load
from app.domain.access import TENANT_NAME, Scope
from app.domain.times import rfc3339

SCOPES = [scope.value for scope in Scope]
NAME_LENGTH = 100


def _check_name(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    if not TENANT_NAME.fullmatch(name):
        raise click.BadParameter("must be 1 to 64 letters, digits, dots, underscores and hyphens")
    return name


def _check_description(_context: click.Context, _option: click.Parameter, name: str) -> str:
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise click.BadParameter(f"must be at most {NAME_LENGTH} printable characters")
    return name


@click.group()
def keys() -> None:
    """API keys: create, list, rotate, revoke."""


@keys.command()
@click.option("--tenant", required=True, callback=_check_name, help="Tenant of the key.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="Scope of the key, repeatable. Default: all except admin.",
)
@click.option("--expires-in", "life", type=Duration(), help="Lifetime: 30d, 12h, 45m, 90s. Default: unlimited.")
@click.option("--name", default="", callback=_check_description, help="Description of the key.")
def create(tenant: str, scopes: tuple[str, ...], life: timedelta | None, name: str) -> None:
    """Creates a key and prints it, only once."""
    runtime = Runtime(load())
    granted = frozenset(map(Scope, scopes)) or frozenset(Scope) - {Scope.ADMIN}
    click.echo(runtime.stores.api_keys.create(tenant, granted, runtime.stores.clock(), life, name=name))


@keys.command()
@click.argument("id", callback=_check_name)
def revoke(id: str) -> None:
    """Revokes a key. ID is the middle part of cphb_ID_…"""
    if not Runtime(load()).stores.api_keys.revoke(id):
        raise click.ClickException("key not found")


@keys.command("list")
@click.option("--tenant", required=True, callback=_check_name, help="Tenant of the keys.")
def show(tenant: str) -> None:
    """Lists keys of a tenant, newest first: id, scopes, created, expires, last used, name."""
    runtime = Runtime(load())
    cursor, more = None, True
    while more:
        page, cursor = runtime.stores.api_keys.page(tenant, limit=200, cursor=cursor)
        for key in page:
            times = (key.created_at, key.expires_at, key.last_used_at)
            fields = (key.id, ",".join(sorted(key.scopes)), *(rfc3339(each) if each else "-" for each in times))
            click.echo("\t".join((*fields, key.name or "-")))
        more = cursor is not None


@keys.command()
@click.argument("id", callback=_check_name)
@click.option("--overlap", type=Duration(), default="1d", show_default=True, help="How long the old key stays valid.")
def rotate(id: str, overlap: timedelta) -> None:
    """Creates a key with the scopes, name and lifetime of an existing one and prints it, only once.

    It has an id of its own. The old key expires after the overlap.
    """
    runtime = Runtime(load())
    owner = runtime.stores.api_keys.owner(id)
    key = owner and runtime.stores.api_keys.rotate(owner, id, runtime.stores.clock(), overlap)
    if not key:
        raise click.ClickException("key not found")
    click.echo(key)


@click.command()
def secret_key() -> None:
    """Prints a new random key for BRIDGE_SECRET_KEYS or BRIDGE_SIGNING_KEYS."""
    click.echo(f"k{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}")
