"""URLs as people type them, looked at before anything is called."""

from ipaddress import IPv6Address

import click

from app.domain.callback_url import DEFAULT_PORTS, HOST_AND_PORT, URL
from app.domain.errors import OperatorError

PORTS = range(1, 65536)


def is_url(_context: click.Context, option: click.Parameter, url: str | None) -> str | None:
    """OperatorError names the option, and repeats nothing of the URL: a key may be in it."""
    if url is not None and (fault := _fault(url)):
        names = [option.opts[0], *([option.envvar] if isinstance(option.envvar, str) else ())]
        raise OperatorError(f"{', '.join(names)}: {fault}")
    return url


def _fault(url: str) -> str | None:
    match = URL.fullmatch(url)
    if not match or match["scheme"].lower() not in DEFAULT_PORTS:
        return "is not one such as https://bridge.example: http:// or https://, and in it no space and no #"
    if "@" in match["authority"]:
        return "has a user name or password in it"
    place = HOST_AND_PORT.fullmatch(match["authority"])
    if not place or int(place["port"] or DEFAULT_PORTS["http"]) not in PORTS or not _is_host(place["host"]):
        return "its host or port is malformed"
    return None


def _is_host(host: str) -> bool:
    """An address in brackets, or a name that can be looked up: no label of it is empty, or too long."""
    try:
        known = IPv6Address(host[1:-1]) if host.startswith("[") else host.encode("idna")
    except ValueError:
        return False
    return bool(known) and "%" not in host
