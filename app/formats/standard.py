"""`standard`: the event as the contract shows it, compact UTF-8 JSON."""

from app.domain.event import Event
from app.domain.times import rfc3339
from app.domain.wire import to_json

CONTENT_TYPE = "application/json"


def render(event: Event) -> bytes:
    """The same event gives the same bytes, on every attempt and in every version of `/v1`.

    Compact and not escaped, so that receivers that re-serialise what they parsed still verify the signature.
    """
    observed = rfc3339(event.observed_at)
    body = {
        "id": event.id,
        "type": event.type,
        "timestamp": observed,
        "data": {
            "registration_id": event.registration_id,
            "project": event.project,
            "job": event.job.as_dict(),
            "observed_at": observed,
            "metadata": event.metadata,
        },
    }
    return to_json(body).encode()
