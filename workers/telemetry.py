"""What workers count: what came of a call to CPH, and since when a callback could have been there."""

from datetime import datetime

from app.cph.client import Answered, Listed, Listing, MayNotList, NoSuchRequest, Outcome, Unanswered, Unknown
from app.domain.event import DestinationChange, Event
from app.domain.job import Job
from app.domain.registration import Registration
from app.domain.times import parse_rfc3339

TEMPLATE = "template"


def outcome_label(answer: Outcome | Listing) -> str:
    match answer:
        case Answered() | Listed():
            return "answered"
        case Unknown() | NoSuchRequest():
            return "unknown"
        case MayNotList():
            return "forbidden"
        case Unanswered(unauthenticated=True):
            return "refused"
        case Unanswered(throttled=None):
            return "unanswered"
        case Unanswered():
            return "throttled"


def calls_of(answer: Listing) -> list[tuple[Listing, int]]:
    """Each kind of answer that a list took, and how often: the last page may have failed."""
    if not isinstance(answer, Listed):
        return [(answer, 1)]
    return [(answer, answer.calls), *([(answer.silence, 1)] if answer.silence else [])]


def earliest_delivery_time(event: Event, registration: Registration) -> datetime | None:
    """Nobody could have been told earlier; None for what is no end of a job."""
    if event.about is None or isinstance(event.about, DestinationChange):
        return None
    ended = parse_rfc3339(event.about.end_time) if isinstance(event.about, Job) else None
    return max(ended or event.observed_at, registration.created_at)


def format_label(name: str) -> str:
    """Of a format: templates are the operator's own, and may be many."""
    return TEMPLATE if name.startswith(f"{TEMPLATE}:") else name
