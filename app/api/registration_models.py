"""What callers send about registrations, and what they are shown."""

import json
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.api.fields import Limit, Moment, RegistrationCursor, encode_cursor
from app.domain.callback_url import CallbackUrl
from app.domain.event import EventType
from app.domain.job import JobState
from app.domain.registration import Progress, Registration, RegistrationState
from app.domain.signature import secret_bytes

METADATA_BYTES = 4096
DEADLINE_S = 7_200
# W3C Trace Context: neither version ff nor ids that are all zero.
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def _each_once(events: list[EventType]) -> list[EventType]:
    if len(set(events)) < len(events):
        raise ValueError("must not repeat an event")
    return events


def _is_secret(secret: str) -> str:
    secret_bytes(secret)
    return secret


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(metadata, separators=(",", ":"), ensure_ascii=False).encode()) > METADATA_BYTES:
        raise ValueError(f"must be at most {METADATA_BYTES} bytes as compact JSON")
    return metadata


def _well_formed(traceparent: str) -> str | None:
    """The specification says to go on without one that is malformed."""
    return traceparent if TRACEPARENT.fullmatch(traceparent) else None


# CPH's ids have 32 or 36 characters; nothing says that they will stay so.
JobId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
Events = Annotated[list[EventType], Field(min_length=1, json_schema_extra={"uniqueItems": True})]


class RegistrationRequest(BaseModel):
    """Exactly one of `job_id` and `job_ids`."""

    model_config = ConfigDict(extra="forbid")

    callback_url: str
    job_id: JobId | None = None
    job_ids: Annotated[list[JobId], Field(min_length=1, max_length=1_000)] | None = None
    project: str | None = Field(None, description="May be left out when there is just one.")
    format: Literal["auto", "standard"] = "auto"
    events: Annotated[Events, AfterValidator(_each_once)] = list(EventType)
    notify: Literal["each"] = "each"
    secret: Annotated[str, AfterValidator(_is_secret)] | None = Field(
        None, description="`whsec_` + base64 of 24 to 64 bytes; made when left out."
    )
    metadata: Annotated[dict[str, Any], AfterValidator(_small)] = {}
    deadline_s: int = Field(DEADLINE_S, ge=10, le=604_800, strict=True)


class RegistrationHeaders(BaseModel):
    idempotency_key: str | None = Field(None, alias="Idempotency-Key", pattern=r"^[\x20-\x7e]{1,255}$")
    traceparent: Annotated[str, AfterValidator(_well_formed)] | None = None


class RegistrationPath(BaseModel):
    id: str = Field(pattern=r"^reg_[0-9a-z]{26}$")


class RegistrationQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: Limit = 50
    cursor: RegistrationCursor | None = None
    state: RegistrationState | None = None
    job_id: str | None = None
    project: str | None = None

    def wants(self, known: tuple[Registration, Progress]) -> bool:
        registration, progress = known
        return (
            self.state in (None, progress.state)
            and self.project in (None, registration.project)
            and (self.job_id is None or self.job_id in progress.jobs)
        )


class JobView(BaseModel):
    job_id: str
    state: JobState


class DeliveryCounts(BaseModel):
    pending: int
    delivered: int
    dead: int


class RegistrationView(BaseModel):
    id: str
    state: RegistrationState
    project: str
    format: Literal["standard"] = "standard"
    notify: Literal["each"] = "each"
    callback_url: str = Field(description="Masked.")
    events: tuple[EventType, ...]
    metadata: dict[str, Any]
    created_at: Moment
    deadline_at: Moment
    jobs: list[JobView]
    deliveries: DeliveryCounts

    @classmethod
    def of(cls, registration: Registration, progress: Progress, **more: str) -> Self:
        return cls(
            id=registration.id,
            state=progress.state,
            project=registration.project,
            callback_url=_masked(registration),
            events=registration.events,
            metadata=dict(registration.metadata),
            created_at=registration.created_at,
            deadline_at=registration.deadline_at,
            jobs=[JobView(job_id=job_id, state=state) for job_id, state in progress.jobs.items()],
            deliveries=DeliveryCounts(pending=progress.pending, delivered=progress.delivered, dead=progress.dead),
            **more,
        )


class RegistrationCreated(RegistrationView):
    secret: str = Field(description="Shown this once.")


class RegistrationPage(BaseModel):
    items: list[RegistrationView]
    next_cursor: str | None

    @classmethod
    def of(cls, found: list[tuple[Registration, Progress]], cursor: str | None) -> Self:
        return cls(items=[RegistrationView.of(*known) for known in found], next_cursor=encode_cursor(cursor))


def _masked(registration: Registration) -> str:
    """Not parsed anew: the policy may have become stricter since."""
    origin = urlsplit(registration.destination)
    host, port = origin.hostname or "", origin.port or 0
    return CallbackUrl(registration.callback_url, origin.scheme, host, port).masked
