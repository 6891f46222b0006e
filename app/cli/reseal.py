"""`cph-bridge reseal`: re-encrypts with the first of BRIDGE_SECRET_KEYS, so that the others can be removed."""

import click

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.domain.errors import OperatorError
from app.store.encryption.reencrypt import Reencryption
from app.store.engine.connection import QUICK

REPORT_EVERY = 10_000


@click.command()
def reseal() -> None:
    """Re-encrypts the secrets in Redis with the first of BRIDGE_SECRET_KEYS.

    Exits with 0 if the other keys can be removed, provided that every process has that key first: a process with
    another first key is only detected if it encrypts something during the run.
    """
    runtime = Runtime(load(), patient=True)
    if not runtime.settings.secret_keys:
        raise OperatorError("BRIDGE_SECRET_KEYS is not set: there is no key to encrypt with")
    runtime.stores.redis.with_retries(
        QUICK
    ).ping()  # fails quickly on a wrong address; later calls wait out a restart of Redis
    key_id = runtime.stores.cipher.key_id
    walk = _reencrypt(runtime)
    if walk.rewritten:
        click.echo("second pass: was anything encrypted with another key meanwhile?")
        walk = _reencrypt(runtime)
    for missing, count in sorted(walk.undecryptable.items()):
        click.echo(
            f"{count:,} are encrypted with {missing!r} and cannot be decrypted; without that key they are lost",
            err=True,
        )
    if walk.rewritten:
        click.echo(
            f"a process still encrypts with another key: give all of them {key_id!r} first, then run this again",
            err=True,
        )
    if walk.undecryptable or walk.rewritten:
        raise SystemExit(1)
    click.echo(
        f"Everything is encrypted with {key_id!r}. Once it is every process's first key, the others may be removed."
    )


def _reencrypt(runtime: Runtime) -> Reencryption:
    walk = Reencryption(runtime.stores.scripts, runtime.stores.cipher)
    reported = 0
    for _ in walk.pages():
        if walk.seen >= reported + REPORT_EVERY:
            reported = walk.seen
            _report(walk)
    _report(walk)
    return walk


def _report(walk: Reencryption) -> None:
    click.echo(f"{walk.seen:,} checked, {walk.rewritten:,} re-encrypted")
