"""Commands that make keys. What they print on stdout is the key, and nothing else."""

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


def _plain(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    if not TENANT_NAME.fullmatch(name):
        raise click.BadParameter("1 to 64 letters, digits, dots, underscores and hyphens")
    return name


def _one_line(_context: click.Context, _option: click.Parameter, name: str) -> str:
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise click.BadParameter(f"at most {NAME_LENGTH} printable characters")
    return name


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
@click.option("--expires-in", "life", type=Duration(), help="30d, 12h, 45m, 90s; never when left out.")
@click.option("--name", default="", callback=_one_line, help="What it is for.")
def create(tenant: str, scopes: tuple[str, ...], life: timedelta | None, name: str) -> None:
    """Makes a key and prints it, this once."""
    runtime = Runtime(load())
    granted = frozenset(map(Scope, scopes)) or frozenset(Scope) - {Scope.ADMIN}
    click.echo(runtime.stores.api_keys.create(tenant, granted, runtime.stores.clock(), life, name=name))


@keys.command()
@click.argument("id", callback=_plain)
def revoke(id: str) -> None:
    """Ends a key at once. ID is the middle part of cphb_ID_…"""
    if not Runtime(load()).stores.api_keys.revoke(id):
        raise click.ClickException("there is no such key")


@keys.command("list")
@click.option("--tenant", required=True, callback=_plain, help="Whose keys.")
def show(tenant: str) -> None:
    """Keys of a tenant, newest first: id, scopes, made, ends, last used, name."""
    runtime = Runtime(load())
    cursor, more = None, True
    while more:
        found, cursor = runtime.stores.api_keys.page(tenant, limit=200, cursor=cursor)
        for key in found:
            moments = (key.created_at, key.expires_at, key.last_used_at)
            words = (key.id, ",".join(sorted(key.scopes)), *(rfc3339(each) if each else "-" for each in moments))
            click.echo("\t".join((*words, key.name or "-")))
        more = cursor is not None


@keys.command()
@click.argument("id", callback=_plain)
@click.option("--overlap", type=Duration(), default="1d", show_default=True, help="How long the earlier one is good.")
def rotate(id: str, overlap: timedelta) -> None:
    """Makes a key like that one, which ends after the overlap, and prints it, this once."""
    runtime = Runtime(load())
    owner = runtime.stores.api_keys.owner(id)
    key = owner and runtime.stores.api_keys.rotate(owner, id, runtime.stores.clock(), overlap)
    if not key:
        raise click.ClickException("there is no such key")
    click.echo(key)


@click.command()
def secret_key() -> None:
    """Prints a fresh key for BRIDGE_SECRET_KEYS, or for BRIDGE_SIGNING_KEYS."""
    click.echo(f"k{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}")
