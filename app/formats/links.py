"""The link in a message, from a URL template of the tenant or the operator."""

import re
from urllib.parse import quote

from app.domain.errors import InvalidField
from app.domain.event import Event
from app.domain.job import Job

MAX_TEMPLATE, MAX_LINK = 512, 1024  # characters
PLACEHOLDER = re.compile(r"\{([a-z_]*)\}")
NAMES = ("job_id", "request_id", "phone_id", "server_id", "registration_id", "project", "event_id")
JOB_NAMES = frozenset(("job_id", "phone_id", "server_id"))
# Legal in a URL, and ends a link in no markup: no quotes, brackets, asterisks or bars.
URL_SAFE = "%/:?#@!$&+,;=~"


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
    url = PLACEHOLDER.sub(lambda match: quote(known[match[1]] or "", safe=""), template)
    url = quote(url, safe=URL_SAFE)
    return url if url.startswith(("https://", "http://")) and len(url) <= MAX_LINK else None
