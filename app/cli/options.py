"""Options shared by commands that call the API."""

import ssl
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from app.cli.api_client import ApiClient
from app.cli.urls import check_url
from app.domain.errors import OperatorError
from app.domain.grant import TlsFiles
from app.transport.client import PUBLIC

DEFAULT_URL = "http://127.0.0.1:8080"
MAX_LIMIT = 1_000_000_000

as_json = click.option("--json", "as_json", is_flag=True, help="Prints JSON, one line per item.")
limit = click.option(
    "--limit", type=click.IntRange(1, MAX_LIMIT), default=50, show_default=True, help="Maximum number of items."
)


def calls_api(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options for the API's address and key, and passes an ApiClient as the first argument."""

    @click.option(
        "--api",
        "url",
        callback=check_url,
        envvar="BRIDGE_URL",
        show_envvar=True,
        default=DEFAULT_URL,
        show_default=True,
        help="URL of the API.",
    )
    @click.option(
        "--key",
        envvar="BRIDGE_KEY",
        show_envvar=True,
        help="API key. As an option it is visible to other users of this machine.",
    )
    @click.option("--key-file", envvar="BRIDGE_KEY_FILE", show_envvar=True, help="File with the API key.")
    @click.option(
        "--ca-file",
        envvar="BRIDGE_CA_FILE",
        show_envvar=True,
        help="PEM file with the certificate authority to trust for https.",
    )
    @wraps(command)
    def wrapped(url: str, key: str | None, key_file: str | None, ca_file: str | None, **options: Any) -> Any:
        if _from_command_line("key_file") and not _from_command_line("key"):
            key = None  # the option --key-file overrides BRIDGE_KEY
        secret = key or (_read_key(key_file) if key_file else "")
        return command(ApiClient(url, secret.strip(), _trusted_ca(ca_file) if ca_file else PUBLIC), **options)

    return wrapped


def _from_command_line(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _read_key(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise OperatorError(f"the key file {path} cannot be read: {_reason(error)}") from None


def _trusted_ca(path: str) -> TlsFiles:
    try:
        ssl.create_default_context(cafile=path)
    except OSError:
        raise OperatorError(f"--ca-file, BRIDGE_CA_FILE: {path} cannot be read as PEM") from None
    return TlsFiles(ca=path)


def _reason(error: Exception) -> str:
    return error.strerror or "" if isinstance(error, OSError) else "it is not text"
