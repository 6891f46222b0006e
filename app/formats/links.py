"""The page that a message leads to: a template of the tenant's or the operator's, filled in."""

import re
from urllib.parse import quote

from app.domain.errors import InvalidField
from app.domain.event import Event
from app.domain.job import Job

LONGEST_TEMPLATE, LONGEST = 512, 1024
PLACEHOLDER = re.compile(r"\{([a-z_]*)\}")
NAMES = ("job_id", "request_id", "phone_id", "server_id", "registration_id", "project", "event_id")
OF_A_JOB = frozenset(("job_id", "phone_id", "server_id"))
# What may stand in a URL and ends none in any markup: no quotes, brackets of links, stars, bars.
URL_SIGNS = "%/:?#@!$&+,;=~"


def check(template: str, pointer: str = "/link") -> None:
    """InvalidField for a template that gives no link."""
    names = set(PLACEHOLDER.findall(template))
    if not template.startswith(("https://", "http://")) or len(template) > LONGEST_TEMPLATE:
        raise InvalidField(pointer, f"must begin with https:// and have at most {LONGEST_TEMPLATE} characters")
    if unknown := names.difference(NAMES):
        raise InvalidField(pointer, f"knows no {{{min(unknown)}}}", f"of these: {', '.join(NAMES)}")
    if set("{}") & set(PLACEHOLDER.sub("", template)):
        raise InvalidField(pointer, "has a brace that belongs to no name", "write %7B and %7D")


def is_of_a_job(template: str | None) -> bool:
    """Whether each job has a page of its own."""
    return not OF_A_JOB.isdisjoint(PLACEHOLDER.findall(template or ""))


def filled(template: str | None, event: Event, job: Job | None) -> str | None:
    """None without a template, and where what it names is not known."""
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
    named = [known.get(name) or "" for name in PLACEHOLDER.findall(template)]
    if not all(named) or sum(map(len, named)) > LONGEST:
        return None
    url = PLACEHOLDER.sub(lambda name: quote(known[name[1]] or "", safe=""), template)
    url = quote(url, safe=URL_SIGNS)
    return url if url.startswith(("https://", "http://")) and len(url) <= LONGEST else None
