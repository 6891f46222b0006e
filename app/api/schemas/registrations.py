"""What callers send about registrations, and what they are shown."""

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
from app.domain.headers import MOST
from app.domain.job import JobState
from app.domain.registration import Notify, Progress, Registration, RegistrationState
from app.domain.verdict import Verdict
from app.formats.format import Language

METADATA_BYTES = 4096
DEADLINE_S = 7_200
# W3C Trace Context: neither version ff nor ids that are all zero.
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def named_project(name: str | None, projects: Sequence[str], pointer: str = "/project") -> str:
    """One of them; the only one if none is named."""
    if not projects:
        hint = "the operator sets BRIDGE_CPH_PROJECT_ID, or lets this tenant name a project"
        raise InvalidField(pointer, "no CPH project is configured", hint)
    if name is None and len(projects) == 1:
        return projects[0]
    if name is not None and name in projects:
        return name
    raise InvalidField(pointer, "must name a configured CPH project", f"one of: {', '.join(projects)}")


def _each_once(events: tuple[EventType, ...]) -> tuple[EventType, ...]:
    if len(set(events)) < len(events):
        raise ValueError("must not repeat an event")
    return events


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(metadata, separators=(",", ":"), ensure_ascii=False).encode()) > METADATA_BYTES:
        raise ValueError(f"must be at most {METADATA_BYTES} bytes as compact JSON")
    return metadata


def _well_formed(traceparent: str) -> str | None:
    """The specification says to go on without one that is malformed."""
    return traceparent if TRACEPARENT.fullmatch(traceparent) else None


# Of requests as well. CPH's ids have 32 or 36 characters; nothing says that they will stay so.
JobId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
Events = Annotated[tuple[EventType, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True})]


class RegistrationRequest(BaseModel):
    """Exactly one of `job_id`, `job_ids`, `request_id` and `submission`."""

    model_config = ConfigDict(extra="forbid")

    # Left out, not null: who has lost its URL on the way must not be taken for one who pulls.
    callback_url: str = Field(default_factory=str, description="If left out, events are to be pulled: `/v1/events`.")
    job_id: JobId | None = None
    job_ids: Annotated[list[JobId], Field(min_length=1, max_length=1_000)] | None = None
    request_id: JobId | None = Field(None, description="All jobs of this CPH request.")
    submission: dict[str, Any] | None = Field(None, description="CPH's answer to an asynchronous call, as it came.")
    project: str | None = Field(None, description="May be left out when there is just one.")
    format: FormatName = AUTO
    language: Language = Language.EN
    link: GivenLink | None = None
    events: Annotated[Events, AfterValidator(_each_once)] = tuple(EventType)
    notify: Notify = Notify.EACH
    secret: GivenSecret | None = None
    headers: dict[str, str] = Field({}, description="More request headers.", json_schema_extra={"maxProperties": MOST})
    metadata: Annotated[dict[str, Any], AfterValidator(_small)] = {}
    deadline_s: int = Field(DEADLINE_S, ge=10, le=604_800, strict=True)
    verify: bool = Field(False, strict=True, description="Sends a `callback.test` at once, while the jobs still run.")


class RegistrationHeaders(IdempotencyHeader):
    traceparent: Annotated[str, AfterValidator(_well_formed)] | None = None


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
    job_id: str | None = Field(description="None for a request that CPH has shown no job of.")
    state: JobState


class RefusedJobView(JobView):
    """What CPH refused at once."""

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
    callback_url: str | None = Field(description="Masked; None if events are to be pulled.")
    callback_gone: bool = Field(description="It has answered 410: it is not called any more.")
    callback_verified: bool | None = Field(description="None while not tried; then whether the last try arrived.")
    callback_verdict: Verdict | None = Field(description="What came of that try.")
    events: tuple[EventType, ...]
    headers: list[str] | None = Field(description="Their names; None while the bridge lacks the key that opens them.")
    metadata: dict[str, Any] | None
    created_at: Moment
    deadline_at: Moment
    request_id: str | None
    jobs: list[RefusedJobView | JobView]
    deliveries: DeliveryCounts

    @classmethod
    def of(cls, registration: Registration, progress: Progress, **more: str | None) -> Self:
        return cls(
            id=registration.id,
            state=progress.state,
            project=registration.project,
            format=registration.format,
            language=Language(registration.language),
            link=registration.link,
            notify=registration.notify,
            callback_url=_masked(registration, opened=progress.opened),
            callback_gone=progress.gone,
            callback_verified=None if progress.tested is None else progress.tested is Verdict.DELIVERED,
            callback_verdict=progress.tested,
            events=registration.events,
            headers=list(registration.headers) if progress.opened else None,
            metadata=dict(registration.metadata) if progress.opened else None,
            created_at=registration.created_at,
            deadline_at=registration.deadline_at,
            request_id=registration.request_id,
            jobs=[*_jobs(registration, progress)],
            deliveries=DeliveryCounts(pending=progress.pending, delivered=progress.delivered, dead=progress.dead),
            **more,
        )


class RegistrationCreated(RegistrationView):
    secret: str | None = Field(None, description="Shown this once; of chat formats only where the bot has one.")

    def as_answer(self) -> str:
        return self.model_dump_json(exclude=None if self.secret else {"secret"})


class RegistrationPage(BaseModel):
    items: list[RegistrationView]
    next_cursor: str | None

    @classmethod
    def of(cls, found: list[tuple[Registration, Progress]], cursor: str | None) -> Self:
        return cls(items=[RegistrationView.of(*known) for known in found], next_cursor=encode_cursor(cursor))


def _jobs(registration: Registration, progress: Progress) -> Iterator[RefusedJobView | JobView]:
    """Those that have no id first."""
    for job in registration.ended:
        if job.job_id is None:
            yield RefusedJobView(
                state=job.state, phone_id=job.phone_id, server_id=job.server_id, error_code=job.error_code
            )
    if progress.unseen:
        yield JobView(job_id=None, state=progress.unseen)
    for job_id, state in progress.jobs.items():
        yield JobView(job_id=job_id, state=state)


def _masked(registration: Registration, *, opened: bool) -> str | None:
    """Not parsed anew: the policy may have become stricter since."""
    if not registration.destination:
        return None
    if not opened:
        return f"{origin_of(registration.destination)}/…"
    return mask(registration.callback_url, origin_of(registration.destination))
