"""Models of requests and responses about registrations."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.api.middleware.idempotency import IdempotencyHeader
from app.api.schemas.fields import (
    FormatName,
    GivenLink,
    GivenSecret,
    Limit,
    Moment,
    RegistrationCursor,
    Wait,
    encode_cursor,
)
from app.config.format_catalog import AUTO
from app.domain.callback_url import mask
from app.domain.destination import origin_of
from app.domain.errors import InvalidField
from app.domain.event import EventType
from app.domain.headers import MAX_HEADERS
from app.domain.job import JobState
from app.domain.registration import Notify, Progress, Registration, RegistrationState
from app.domain.verdict import Verdict
from app.formats.format import Language

METADATA_BYTES = 4096
DEADLINE_S = 7_200
# W3C Trace Context: neither version ff nor ids that are all zero.
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def named_project(name: str | None, projects: Sequence[str], pointer: str = "/project") -> str:
    """Returns `name` if it is one of the projects, or the only project if `name` is None. Raises InvalidField."""
    if not projects:
        hint = "the operator must set BRIDGE_CPH_PROJECT_ID, or allow this tenant a project"
        raise InvalidField(pointer, "no CPH project is configured", hint)
    if name is None and len(projects) == 1:
        return projects[0]
    if name is not None and name in projects:
        return name
    raise InvalidField(pointer, "must name a configured CPH project", f"one of: {', '.join(projects)}")


def _check_unique(events: tuple[EventType, ...]) -> tuple[EventType, ...]:
    if len(set(events)) < len(events):
        raise ValueError("must not repeat an event")
    return events


def _check_size(metadata: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(metadata, separators=(",", ":"), ensure_ascii=False).encode()) > METADATA_BYTES:
        raise ValueError(f"must be at most {METADATA_BYTES} bytes as compact JSON")
    return metadata


def _valid_or_none(traceparent: str) -> str | None:
    """Returns None if malformed: W3C Trace Context says to continue without it."""
    return traceparent if TRACEPARENT.fullmatch(traceparent) else None


# Also of requests. CPH's ids have 32 or 36 characters; nothing guarantees that length.
JobId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
Events = Annotated[tuple[EventType, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True})]


class RegistrationRequest(BaseModel):
    """Exactly one of `job_id`, `job_ids`, `request_id` and `submission`."""

    model_config = ConfigDict(extra="forbid")

    # To pull, the field is omitted, not null: a caller that lost its URL by mistake must get an error.
    callback_url: str = Field(default_factory=str, description="If omitted, pull the events from `/v1/events`.")
    job_id: JobId | None = None
    job_ids: Annotated[list[JobId], Field(min_length=1, max_length=1_000)] | None = None
    request_id: JobId | None = Field(None, description="All jobs of this CPH request.")
    submission: dict[str, Any] | None = Field(None, description="CPH's response to an asynchronous call, unchanged.")
    project: str | None = Field(None, description="May be omitted if there is only one.")
    format: FormatName = AUTO
    language: Language = Language.EN
    link: GivenLink | None = None
    events: Annotated[Events, AfterValidator(_check_unique)] = tuple(EventType)
    notify: Notify = Notify.EACH
    secret: GivenSecret | None = None
    headers: dict[str, str] = Field(
        {}, description="Additional request headers of callbacks.", json_schema_extra={"maxProperties": MAX_HEADERS}
    )
    metadata: Annotated[dict[str, Any], AfterValidator(_check_size)] = {}
    deadline_s: int = Field(DEADLINE_S, ge=10, le=604_800, strict=True)
    verify: bool = Field(
        False, strict=True, description="Sends a `callback.test` at registration, while the jobs still run."
    )


class RegistrationHeaders(IdempotencyHeader):
    traceparent: Annotated[str, AfterValidator(_valid_or_none)] | None = None


class RegistrationPath(BaseModel):
    id: str = Field(pattern=r"^reg_[0-9a-z]{26}$")


class ShowQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    wait_s: Wait = 0


class RegistrationQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: Limit = 50
    cursor: RegistrationCursor | None = None
    state: RegistrationState | None = None
    job_id: str | None = None
    request_id: str | None = None
    project: str | None = None

    def wants(self, known: tuple[Registration, Progress]) -> bool:
        registration, progress = known
        return (
            self.state in (None, progress.state)
            and self.project in (None, registration.project)
            and self.request_id in (None, registration.request_id)
            and (self.job_id is None or self.job_id in progress.jobs)
        )


class JobView(BaseModel):
    job_id: str | None = Field(description="Null for a request of which CPH has shown no job.")
    state: JobState


class RefusedJobView(JobView):
    """A job that CPH refused at submission."""

    job_id: None = None
    phone_id: str | None
    server_id: str | None
    error_code: str | None


class DeliveryCounts(BaseModel):
    pending: int
    delivered: int
    dead: int


class RegistrationView(BaseModel):
    id: str
    state: RegistrationState
    project: str
    format: str
    language: Language
    link: str | None
    notify: Notify
    callback_url: str | None = Field(description="Masked; null if events are pulled.")
    callback_gone: bool = Field(description="The URL answered 410 and is no longer called.")
    callback_verified: bool | None = Field(description="Whether the last test was delivered; null before the first.")
    callback_verdict: Verdict | None = Field(description="Verdict of that test.")
    events: tuple[EventType, ...]
    headers: list[str] | None = Field(description="Names only; null while the bridge lacks the decryption key.")
    metadata: dict[str, Any] | None
    created_at: Moment
    deadline_at: Moment
    request_id: str | None
    jobs: list[RefusedJobView | JobView]
    deliveries: DeliveryCounts

    @classmethod
    def of(cls, registration: Registration, progress: Progress, **extra: str | None) -> Self:
        verdict = progress.callback_verdict
        return cls(
            id=registration.id,
            state=progress.state,
            project=registration.project,
            format=registration.format,
            language=Language(registration.language),
            link=registration.link,
            notify=registration.notify,
            callback_url=_mask_callback_url(registration, decrypted=progress.decrypted),
            callback_gone=progress.callback_gone,
            callback_verified=None if verdict is None else verdict is Verdict.DELIVERED,
            callback_verdict=verdict,
            events=registration.events,
            headers=list(registration.headers) if progress.decrypted else None,
            metadata=dict(registration.metadata) if progress.decrypted else None,
            created_at=registration.created_at,
            deadline_at=registration.deadline_at,
            request_id=registration.request_id,
            jobs=[*_jobs(registration, progress)],
            deliveries=DeliveryCounts(pending=progress.pending, delivered=progress.delivered, dead=progress.dead),
            **extra,
        )


class RegistrationCreated(RegistrationView):
    secret: str | None = Field(None, description="Shown only once; for chat formats only if the bot has one.")

    def as_answer(self) -> str:
        return self.model_dump_json(exclude=None if self.secret else {"secret"})


class RegistrationPage(BaseModel):
    items: list[RegistrationView]
    next_cursor: str | None

    @classmethod
    def of(cls, found: list[tuple[Registration, Progress]], cursor: str | None) -> Self:
        return cls(items=[RegistrationView.of(*known) for known in found], next_cursor=encode_cursor(cursor))


def _jobs(registration: Registration, progress: Progress) -> Iterator[RefusedJobView | JobView]:
    """Yields jobs without an id first."""
    for job in registration.ended:
        if job.job_id is None:
            yield RefusedJobView(
                state=job.state, phone_id=job.phone_id, server_id=job.server_id, error_code=job.error_code
            )
    if progress.unseen:
        yield JobView(job_id=None, state=progress.unseen)
    for job_id, state in progress.jobs.items():
        yield JobView(job_id=job_id, state=state)


def _mask_callback_url(registration: Registration, *, decrypted: bool) -> str | None:
    """Masks the URL without parsing it: the address policy may have become stricter since registration."""
    if not registration.destination:
        return None
    if not decrypted:
        return f"{origin_of(registration.destination)}/…"
    return mask(registration.callback_url, origin_of(registration.destination))
