"""Reads and changes the parts of a URL in which chat services identify a bot."""

from urllib.parse import parse_qsl, quote, urlsplit

from app.domain.callback_url import POINTER, CallbackUrl
from app.domain.errors import InvalidField


def path(url: CallbackUrl) -> str:
    return urlsplit(url.raw).path


def query_parameter(url: str, name: str) -> str | None:
    """Returns the first value of that name in the query."""
    return next((value for known, value in parse_qsl(urlsplit(url).query) if known == name), None)


def remove_parameter(url: str, name: str) -> str:
    """Keeps the rest byte for byte."""
    parts = urlsplit(url)
    kept = (pair for pair in parts.query.split("&") if pair.partition("=")[0] != name)
    return parts._replace(query="&".join(kept)).geturl()


def add_parameter(url: str, name: str, value: str) -> str:
    """Appends to the query; the value is percent-encoded once."""
    parts = urlsplit(url)
    pair = f"{name}={quote(value, safe='')}"
    return parts._replace(query=f"{parts.query}&{pair}" if parts.query else pair).geturl()


def in_domain(host: str, *domains: str) -> bool:
    """Returns whether the host is one of the domains or below one."""
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)


def invalid_url(detail: str, hint: str) -> InvalidField:
    return InvalidField(POINTER, detail, hint)


def invalid_secret(hint: str) -> InvalidField:
    return InvalidField("/secret", "is not the bot's own", hint)
