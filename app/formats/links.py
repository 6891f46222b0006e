"""The link in a message, from a URL template of the tenant or the operator."""

import re
from dataclasses import replace
from ipaddress import IPv6Address
from urllib.parse import quote

from app.domain.callback_url import LABEL
from app.domain.errors import InvalidField
from app.domain.event import Event
from app.domain.job import Job
from app.formats.format import MessageOptions

MAX_TEMPLATE, MAX_LINK = 512, 1024  # characters
PLACEHOLDER = re.compile(r"\{([a-z_]*)\}")
NAMES = ("job_id", "request_id", "phone_id", "server_id", "registration_id", "project", "event_id")
JOB_NAMES = frozenset(("job_id", "phone_id", "server_id"))
# Legal in a URL, and ends a link in no markup: no quotes, brackets, asterisks or bars.
URL_SAFE = "%/:?#@!$&+,;=~"
LINK = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<tail>.*)", re.DOTALL)
AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:\[\]]+)(?P<port>:[0-9]{1,5})?")
# Python's `idna` codec replaces these by other letters, which would name another host.
REPLACED_LETTERS = frozenset("ßς\u200c\u200d")
MAX_HOST, MAX_PORT = 253, 65_535


def check(template: str, pointer: str = "/link") -> None:
    """Raises InvalidField for a template that cannot give a link."""
    names = set(PLACEHOLDER.findall(template))
    if not template.startswith(("https://", "http://")) or len(template) > MAX_TEMPLATE:
        raise InvalidField(pointer, f"must start with https:// or http:// and have at most {MAX_TEMPLATE} characters")
    if unknown := names.difference(NAMES):
        raise InvalidField(pointer, f"has an unknown placeholder {{{min(unknown)}}}", f"known: {', '.join(NAMES)}")
    if set("{}") & set(PLACEHOLDER.sub("", template)):
        raise InvalidField(pointer, "has a brace outside a placeholder", "write %7B and %7D")


def is_per_job(template: str | None) -> bool:
    """Returns whether the link differs by job."""
    return not JOB_NAMES.isdisjoint(PLACEHOLDER.findall(template or ""))


def filled(template: str | None, event: Event, job: Job | None) -> str | None:
    """Returns the link; None without a template, if a value is unknown, or if the link is too long."""
    if template is None:
        return None
    known = {
        "job_id": job and job.job_id,
        "request_id": job and job.request_id,
        "phone_id": job and job.phone_id,
        "server_id": job and job.server_id,
        "registration_id": event.registration_id,
        "project": event.project,
        "event_id": event.id,
    }
    values = [known.get(name) or "" for name in PLACEHOLDER.findall(template)]
    if not all(values) or sum(map(len, values)) > MAX_LINK:
        return None
    return _well_formed(PLACEHOLDER.sub(lambda match: quote(known[match[1]] or "", safe=""), template))


def public_only(options: MessageOptions) -> MessageOptions:
    """Drops a link whose host has no dot, such as `console` or `localhost`: for services that refuse such links."""
    link = LINK.fullmatch(options.link or "")
    return options if link is None or "." in link["authority"] else replace(options, link=None)


def _well_formed(url: str) -> str | None:
    """Returns the URL as services take it; None if it is none. A single wrong link makes some refuse the message."""
    link = LINK.fullmatch(url)
    authority = AUTHORITY.fullmatch(link["authority"]) if link else None
    if link is None or authority is None:
        return None
    host, port = _ascii_host(authority["host"]), authority["port"] or ""
    if host is None or not 0 < int(port[1:] or 1) <= MAX_PORT:
        return None
    made = f"{link['scheme']}://{host}{port}{quote(link['tail'], safe=URL_SAFE)}"
    return made if len(made) <= MAX_LINK else None


def _ascii_host(host: str) -> str | None:
    """Returns the host as DNS knows it: `xn--bcher-kva.example` for `bücher.example`."""
    if REPLACED_LETTERS.intersection(host):
        return None
    try:
        if host.startswith("["):
            return f"[{IPv6Address(host[1:-1])}]"
        name = host.encode("idna").decode().lower()
    except ValueError:
        return None
    labels = name.removesuffix(".").split(".")
    return name if len(name) <= MAX_HOST and all(LABEL.fullmatch(label) for label in labels) else None
