"""Models of the events that subscribers receive: for /v1/events, and for `webhooks` in the OpenAPI document."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from app.api.schemas.fields import Moment
from app.domain.job import JobState, UnresolvedReason


class UnresolvedView(BaseModel):
    """Only of a lost or overdue job."""

    reason: UnresolvedReason | None = Field(None, description="Why CPH has shown no end of the job.")
    last_answer_at: Moment | None = Field(None, description="When CPH last answered about it, or about its request.")
    last_error: str | None = Field(
        None, description="Code of the call that failed since then, such as `APIGW.0802` or `HTTP 502`."
    )


class EndedJob(BaseModel):
    """A job as CPH last reported it."""

    job_id: str | None = Field(description="Null if CPH refused the job at submission, or has shown no job.")
    state: JobState
    status: int | None = Field(description="CPH's status code.")
    request_id: str | None
    phone_id: str | None
    server_id: str | None
    begin_time: str | None
    end_time: str | None
    error_code: str | None
    error_msg: str | None


class EndedJobDetails(EndedJob):
    execute_msg: str | None


class AboutRegistration(BaseModel):
    registration_id: str | None = Field(description="Null for `POST /v1/callbacks/test`.")
    project: str | None
    observed_at: Moment
    metadata: dict[str, Any] = Field(description="As given at registration.")


class AboutJob(AboutRegistration, UnresolvedView):
    job: EndedJobDetails


class GroupCounts(BaseModel):
    total: int
    succeeded: int
    failed: int
    lost: int
    overdue: int


class JobOfGroup(EndedJob, UnresolvedView):
    """A job of a group."""


class AboutGroup(AboutRegistration):
    group: GroupCounts
    jobs: list[JobOfGroup] = Field(description="Jobs that did not succeed come first.")
    truncated: bool = Field(description="True if the list was cut.")


class _EventFields(BaseModel):
    id: str = Field(description="The same on every retry and redelivery: use it to discard duplicates.")
    timestamp: Moment


class JobEvent(_EventFields):
    """A job has ended."""

    type: Literal["job.succeeded", "job.failed", "job.lost", "job.overdue"]
    data: AboutJob


class GroupEvent(_EventFields):
    """All jobs of a registration have ended."""

    type: Literal["group.finished"]
    data: AboutGroup


class TestEvent(_EventFields):
    """A test of the callback URL."""

    type: Literal["callback.test"]
    data: AboutRegistration


class AboutDestination(BaseModel):
    tenant: str
    destination: str
    since: Moment = Field(description="Time of the first of the consecutive failures.")
    failures: int
    held: int = Field(description="Deliveries on hold, or that were until it was reopened.")
    observed_at: Moment


class DestinationEvent(_EventFields):
    """For the operator only: a destination was disabled or reopened."""

    type: Literal["destination.disabled", "destination.reopened"]
    data: AboutDestination


AnyEvent = Annotated[JobEvent | GroupEvent | TestEvent, Field(discriminator="type")]


class EventPage(BaseModel):
    items: list[AnyEvent]
    next_cursor: str = Field(description="Value for the next `after`; never null, even if `items` is empty.")
