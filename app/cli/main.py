"""`cph-bridge`: the entry point of every process and command."""

import io
import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from app.cli.exit_codes import BROKEN_PIPE, INTERRUPTED
from app.domain.errors import OperatorError, Unavailable
from app.version import VERSION

# Command → its module in app.cli.
COMMANDS = {
    "api": "processes",
    "worker": "processes",
    "watch": "watch",
    "listen": "listen",
    "registrations": "registrations",
    "deliveries": "deliveries",
    "destinations": "destinations",
    "keys": "keys",
    "secret-key": "keys",
    "reseal": "reseal",
    "doctor": "doctor",
    "render": "render",
    "verify": "verify",
    "standin": "processes",
    "inbox": "processes",
}


class CommandRefused(click.ClickException):
    exit_code = 2


class UnexpectedError(click.ClickException):
    exit_code = 3


class CommandGroup(click.Group):
    """Prints an expected error as one line; exits with 2 if an operator must act, 1 if the error may pass by itself.

    Imports a command only when it is asked for: starting a worker must not load what `doctor` needs.
    """

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"app.cli.{COMMANDS[name]}"), name.replace("-", "_"))
        return command

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # in any locale
        try:
            return super().invoke(ctx)
        except OperatorError as error:
            raise CommandRefused(str(error)) from error
        except Unavailable as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader has closed the pipe. Flushing the rest of the buffer at exit must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(BROKEN_PIPE) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # a bug: one line for the operator, and its traceback on request
            if _is_debugging():
                raise
            raise UnexpectedError(_describe_bug(error)) from error


def _is_debugging() -> bool:
    from app.config.settings import variables  # noqa: PLC0415 slow, and few commands need settings

    return variables().get("BRIDGE_LOG_LEVEL", "").upper() == "DEBUG"


def _describe_bug(error: Exception) -> str:
    """Returns the kind of the error and where it happened; its text may contain a secret."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(where.filename).name}, line {where.lineno}"
    return (
        f"this is a bug of cph-bridge {VERSION}: {type(error).__name__} in {place}. Please report this line, with what"
        " BRIDGE_LOG_LEVEL=DEBUG shows when you run the command again; remove secrets from that"
    )


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="cph-bridge")
def main() -> None:
    """Signed callbacks for Huawei Cloud Phone jobs. Settings are environment variables, BRIDGE_…"""
