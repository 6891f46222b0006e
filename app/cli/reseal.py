"""`cph-bridge reseal`: everything under the first of BRIDGE_SECRET_KEYS, so that the others can go."""

import click

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.domain.errors import OperatorError
from app.store.encryption.reencrypt import Reencryption
from app.store.engine.connection import QUICK

TELL_EVERY = 10_000


@click.command()
def reseal() -> None:
    """Seals what is secret in Redis with the first of BRIDGE_SECRET_KEYS.

    Ends with 0 if the other keys may go, once every process has that one first: one that has not, and seals nothing
    meanwhile, goes unnoticed.
    """
    runtime = Runtime(load(), patient=True)
    if not runtime.settings.secret_keys:
        raise OperatorError("BRIDGE_SECRET_KEYS is not set: there is no key to seal with")
    runtime.stores.redis.with_tries(QUICK).ping()  # a wrong address is told soon; a restart later on is sat out
    key_id = runtime.stores.cipher.key_id
    walk = _walk(runtime)
    if walk.rewritten:
        click.echo("once more: was anything sealed with another key meanwhile?")
        walk = _walk(runtime)
    for closed, count in sorted(walk.closed.items()):
        click.echo(f"{count:,} are sealed with {closed!r} and do not open; without that key they are lost", err=True)
    if walk.rewritten:
        click.echo(
            f"some process still seals with another key: give all of them {key_id!r} first, run this again", err=True
        )
    if walk.closed or walk.rewritten:
        raise SystemExit(1)
    click.echo(f"All is sealed with {key_id!r}. Once every process has it as its first key, the others may be removed.")


def _walk(runtime: Runtime) -> Reencryption:
    walk = Reencryption(runtime.stores.scripts, runtime.stores.cipher)
    told = 0
    for _ in walk.pages():
        if walk.seen >= told + TELL_EVERY:
            told = walk.seen
            _tell(walk)
    _tell(walk)
    return walk


def _tell(walk: Reencryption) -> None:
    click.echo(f"{walk.seen:,} looked at, {walk.rewritten:,} sealed anew")
