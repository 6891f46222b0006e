"""`cph-bridge`: one command for all that runs."""

from typing import Any

import click

from app import VERSION
from app.cli.doctor import doctor
from app.cli.keys import keys, secret_key
from app.cli.processes import api, inbox, standin, worker
from app.cli.render import render
from app.cli.reseal import reseal
from app.cli.verify import verify
from app.domain.errors import OperatorError, Unavailable


class Refused(click.ClickException):
    exit_code = 2


class Commands(click.Group):
    """Ends with one clear line when an operator must act (2), or when waiting heals it (1)."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OperatorError as error:
            raise Refused(str(error)) from error
        except Unavailable as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="cph-bridge")
def main() -> None:
    """Signed callbacks for Huawei Cloud Phone jobs. Settings are environment variables, BRIDGE_…"""


for command in (api, worker, keys, secret_key, reseal, doctor, render, verify, standin, inbox):
    main.add_command(command)
