"""`standard`: the event as documented in the contract, as compact UTF-8 JSON."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.domain.event import DestinationChange, Event, Group
from app.domain.job import Job
from app.domain.times import rfc3339
from app.domain.wire import to_json
from app.formats.cut_events import cut
from app.formats.format import Format, MessageOptions, Outgoing
from app.formats.verdicts import by_status_alone

CONTENT_TYPE = "application/json"


def render(event: Event) -> bytes:
    """Returns the same bytes for the same event, on every attempt and in every version of `/v1`.

    Compact and not escaped, so that receivers that re-serialise the parsed JSON can still verify the signature.
    """
    return to_json(body(event)).encode()


def body(event: Event) -> dict[str, Any]:
    """Returns the event as a JSON value."""
    return _with_data(event, data(event))


def _with_data(event: Event, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "timestamp": rfc3339(event.observed_at),
        "data": data,
    }


def data(event: Event) -> dict[str, Any]:
    """Returns the event's content, without its id, type and time."""
    observed = {"observed_at": rfc3339(event.observed_at)}
    if isinstance(event.about, DestinationChange):
        return _change(event.about) | observed
    return {
        "registration_id": event.registration_id,
        "project": event.project,
        **_about(event.about),
        **observed,
        "metadata": event.metadata,
    }


def _change(change: DestinationChange) -> dict[str, Any]:
    return {
        "tenant": change.tenant,
        "destination": change.destination,
        "since": rfc3339(change.since),
        "failures": change.failures,
        "held": change.held,
    }


def _about(subject: Job | Group | None) -> dict[str, Any]:
    if subject is None:
        return {}
    if isinstance(subject, Job):
        return {"job": subject.as_dict(), **_unresolved(subject)}
    jobs = [job.as_dict() | _unresolved(job) for job in subject.jobs]
    for job in jobs:
        del job["execute_msg"]
    return {"group": {"total": subject.total, **subject.counts}, "jobs": jobs, "truncated": subject.truncated}


def _unresolved(job: Job) -> dict[str, Any]:
    """Nothing for an event of an earlier version: a redelivery has the same bytes."""
    return job.unresolved.as_dict() if job.unresolved else {}


def _outgoing(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    (event,) = events
    return Outgoing(options.url, render(event))


def _cut(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing | None:
    (event,) = events
    shorter = cut(data(event), lambda data: to_json(_with_data(event, data)).encode())
    return Outgoing(options.url, shorter) if shorter else None


FORMAT = Format("standard", _outgoing, by_status_alone, _cut, machine=True)
