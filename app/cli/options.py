"""Options that commands which call the API share."""

import ssl
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from app.cli.api_client import ApiClient
from app.cli.urls import is_url
from app.domain.errors import OperatorError
from app.domain.grant import TlsFiles
from app.transport.client import PUBLIC

HERE = "http://127.0.0.1:8080"
MOST = 1_000_000_000

as_json = click.option("--json", "as_json", is_flag=True, help="JSON, a line each.")
limit = click.option("--limit", type=click.IntRange(1, MOST), default=50, show_default=True, help="The most to show.")


def calls_api(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command its first argument, the API, and the options that say where it is."""

    @click.option(
        "--api",
        "url",
        callback=is_url,
        envvar="BRIDGE_URL",
        show_envvar=True,
        default=HERE,
        show_default=True,
        help="Its URL.",
    )
    @click.option(
        "--key", envvar="BRIDGE_KEY", show_envvar=True, help="An API key. As an option, others on this machine see it."
    )
    @click.option("--key-file", envvar="BRIDGE_KEY_FILE", show_envvar=True, help="A file that holds it.")
    @click.option(
        "--ca-file", envvar="BRIDGE_CA_FILE", show_envvar=True, help="PEM file with the authority to trust for https."
    )
    @wraps(command)
    def wrapped(url: str, key: str | None, key_file: str | None, ca_file: str | None, **more: Any) -> Any:
        if _typed("key_file") and not _typed("key"):
            key = None  # that of the environment
        given = key or (_read(key_file) if key_file else "")
        return command(ApiClient(url, given.strip(), _authority(ca_file) if ca_file else PUBLIC), **more)

    return wrapped


def _typed(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise OperatorError(f"the key file {path} cannot be read: {_reason(error)}") from None


def _authority(path: str) -> TlsFiles:
    try:
        ssl.create_default_context(cafile=path)
    except OSError:
        raise OperatorError(f"--ca-file, BRIDGE_CA_FILE: {path} cannot be read as PEM") from None
    return TlsFiles(ca=path)


def _reason(error: Exception) -> str:
    return error.strerror or "" if isinstance(error, OSError) else "it is not text"
