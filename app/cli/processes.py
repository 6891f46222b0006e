"""Commands that exec another program, so that it keeps the process that the container started."""

import os
import sys
from importlib.util import find_spec
from typing import NoReturn

import click

from app.domain.errors import OperatorError

OPAQUE = {"ignore_unknown_options": True, "help_option_names": []}


@click.command()
def api() -> None:
    """Runs the API under gunicorn; probes have their own port."""
    _exec("app.api")


@click.command()
@click.argument("kind", type=click.Choice(["poll", "deliver"]))
def worker(kind: str) -> None:
    """Runs a worker: `poll` calls CPH, `deliver` calls subscribers."""
    _exec("workers", kind)


def _devkit_command(name: str, summary: str) -> click.Command:
    """Builds the command for a program of app.devkit, which parses its own arguments. The image does not contain it."""

    @click.command(name, help=summary, context_settings=OPAQUE)
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        if find_spec("app.devkit") is None:
            raise OperatorError(f"{name} is not part of this installation: run .venv/bin/cph-bridge of a checkout")
        _exec(f"app.devkit.{name}", *arguments)

    return command


standin = _devkit_command(
    "standin", "Runs the CPH and IAM stand-in, for trials and tests (in a checkout, not in the image)."
)
inbox = _devkit_command("inbox", "Receives callbacks, verifies and prints them (in a checkout, not in the image).")


def _exec(module: str, *arguments: str) -> NoReturn:
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
