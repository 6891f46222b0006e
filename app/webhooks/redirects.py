"""Descriptions of redirects. They are not followed: one may lead to an address that no callback may have."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import quote, urljoin, urlsplit

from app.domain.callback_url import path_and_query
from app.transport.client import Reply
from app.webhooks.excerpt import excerpt

REDIRECTS = frozenset((301, 302, 303, 307, 308))
PERMANENT = frozenset((HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.PERMANENT_REDIRECT))
WORD, SEPARATORS = re.compile("[a-z]{0,11}"), re.compile("[/?&=]")
MAX_LOCATION = 140  # characters: what follows it must fit into an excerpt, too


def describe(reply: Reply, url: str, secrets: Iterable[str] = ()) -> str | None:
    """Returns where a redirect leads to, without its query and what may be a credential; None for other answers.

    secrets: values to mask, in addition to the parts of the path and query of `url`. Plain words stay: often the new
    URL is the old one with another host, or with a slash at its end.
    """
    if reply.status not in REDIRECTS:
        return None
    location = _location(reply.headers.get("location", ""), url)
    if location is None:
        return f"a redirect ({reply.status}) to nowhere: its Location header is missing or malformed"
    tail = path_and_query(url)
    tokens = (part for part in SEPARATORS.split(tail) if not WORD.fullmatch(part))
    shown = excerpt(location.encode(), secrets=(*tokens, *(secret for secret in secrets if secret != tail)))
    if reply.status in PERMANENT:
        return f"moved permanently ({reply.status}) to {shown}: register that URL"
    return f"a redirect ({reply.status}) to {shown}, which is not followed: the callback URL must answer itself"


def _location(given: str, url: str) -> str | None:
    try:
        parts = urlsplit(urljoin(url, given.strip()))
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not given.strip() or not host or parts.scheme not in ("https", "http"):
        return None
    host = f"[{host}]" if ":" in host else host
    target = f"{parts.scheme}://{host}{f':{port}' if port else ''}{quote(parts.path, safe='/%:@!$&+,;=~*().')}"
    shown = target if len(target) <= MAX_LOCATION else f"{target[:MAX_LOCATION]}…"
    return f"{shown}?…" if parts.query else shown
