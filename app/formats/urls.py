"""The parts of a URL in which chat services carry who is meant."""

from urllib.parse import parse_qsl, quote, urlsplit

from app.domain.callback_url import POINTER, CallbackUrl
from app.domain.errors import InvalidField


def path(url: CallbackUrl) -> str:
    return urlsplit(url.raw).path


def argument(url: str, name: str) -> str | None:
    """The first of that name in the query."""
    return next((value for known, value in parse_qsl(urlsplit(url).query) if known == name), None)


def without(url: str, name: str) -> str:
    """The rest stays as it is, byte for byte."""
    parts = urlsplit(url)
    kept = (pair for pair in parts.query.split("&") if pair.partition("=")[0] != name)
    return parts._replace(query="&".join(kept)).geturl()


def with_argument(url: str, name: str, value: str) -> str:
    """At the end of the query, percent-encoded once."""
    parts = urlsplit(url)
    pair = f"{name}={quote(value, safe='')}"
    return parts._replace(query=f"{parts.query}&{pair}" if parts.query else pair).geturl()


def below(host: str, *domains: str) -> bool:
    """Whether it is one of them or belongs to one."""
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)


def refused(detail: str, hint: str) -> InvalidField:
    return InvalidField(POINTER, detail, hint)


def refused_secret(hint: str) -> InvalidField:
    return InvalidField("/secret", "not the bot's own", hint)
