"""Validates URLs given as options, before any request."""

from ipaddress import IPv6Address

import click

from app.domain.callback_url import DEFAULT_PORTS, HOST_AND_PORT, URL
from app.domain.errors import OperatorError

PORTS = range(1, 65536)


def check_url(_context: click.Context, option: click.Parameter, url: str | None) -> str | None:
    """Validates the URL of an option. The OperatorError does not quote the URL: it may contain a key."""
    if url is not None and (fault := _fault(url)):
        names = [option.opts[0], *([option.envvar] if isinstance(option.envvar, str) else ())]
        raise OperatorError(f"{', '.join(names)}: {fault}")
    return url


def _fault(url: str) -> str | None:
    match = URL.fullmatch(url)
    if not match or match["scheme"].lower() not in DEFAULT_PORTS:
        return "must be a URL such as https://bridge.example: http:// or https://, without spaces or #"
    if "@" in match["authority"]:
        return "must not contain a user name or password"
    authority = HOST_AND_PORT.fullmatch(match["authority"])
    if not authority or int(authority["port"] or DEFAULT_PORTS["http"]) not in PORTS or not _is_host(authority["host"]):
        return "its host or port is malformed"
    return None


def _is_host(host: str) -> bool:
    """Accepts an IPv6 address in brackets, or a name that DNS can resolve: no label is empty or too long."""
    try:
        parsed = IPv6Address(host[1:-1]) if host.startswith("[") else host.encode("idna")
    except ValueError:
        return False
    return bool(parsed) and "%" not in host
