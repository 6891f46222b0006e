"""Commands that become another program: the process stays the one that the container started."""

import os
import sys
from typing import NoReturn

import click

OPAQUE = {"ignore_unknown_options": True, "help_option_names": []}


@click.command()
def api() -> None:
    """The API under gunicorn, probes on a port of their own."""
    _become("app.api")


@click.command()
@click.argument("kind", type=click.Choice(["poll", "deliver"]))
def worker(kind: str) -> None:
    """A worker: `poll` asks CPH, `deliver` calls subscribers."""
    _become("workers", kind)


def _trial(name: str, summary: str) -> click.Command:
    """For a program of the devkit, which reads its arguments itself."""

    @click.command(name, help=summary, context_settings=OPAQUE)
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        _become(f"app.devkit.{name}", *arguments)

    return command


standin = _trial("standin", "The CPH and IAM stand-in, for trials and tests.")
inbox = _trial("inbox", "Receives callbacks, verifies and prints them.")


def _become(module: str, *arguments: str) -> NoReturn:
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
