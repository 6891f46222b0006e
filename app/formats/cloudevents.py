"""`cloudevents`: CloudEvents 1.0 in structured mode, for machines."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from app.domain.event import Event
from app.domain.job import Job
from app.domain.times import rfc3339
from app.domain.wire import to_json
from app.formats.cut_events import cut
from app.formats.format import Format, MessageOptions, Outgoing
from app.formats.standard import data
from app.formats.verdicts import by_status_alone

CONTENT_TYPE = "application/cloudevents+json"
HEADERS = {"Content-Type": CONTENT_TYPE}
TYPE_PREFIX = "com.huaweicloud.cph."


def render(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    (event,) = events
    return Outgoing(options.url, to_json(_envelope(event, data(event))).encode(), HEADERS)


def _cut(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing | None:
    (event,) = events
    shorter = cut(data(event), lambda data: to_json(_envelope(event, data)).encode())
    return Outgoing(options.url, shorter, HEADERS) if shorter else None


def _envelope(event: Event, data: Mapping[str, Any]) -> dict[str, Any]:
    """Has a `subject` only for one job with an id: the specification forbids an empty one."""
    job_id = event.about.job_id if isinstance(event.about, Job) else None
    return {
        "specversion": "1.0",
        "id": event.id,
        "type": TYPE_PREFIX + event.type,
        # A URI reference; `/` for an event without a project.
        "source": f"/projects/{quote(event.project, safe='')}" if event.project else "/",
        **({"subject": job_id} if job_id else {}),
        "time": rfc3339(event.observed_at),
        "datacontenttype": "application/json",
        "data": data,
    }


FORMAT = Format("cloudevents", render, by_status_alone, _cut, machine=True)
