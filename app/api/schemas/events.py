"""What subscribers receive, as models: for the answers of /v1/events, and for the document's `webhooks`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from app.api.schemas.fields import Moment
from app.domain.job import JobState


class EndedJob(BaseModel):
    """A job as CPH showed it last."""

    job_id: str | None = Field(description="None for what CPH refused at once, or has never shown.")
    state: JobState
    status: int | None = Field(description="CPH's number.")
    request_id: str | None
    phone_id: str | None
    server_id: str | None
    begin_time: str | None
    end_time: str | None
    error_code: str | None
    error_msg: str | None


class EndedJobInFull(EndedJob):
    execute_msg: str | None


class AboutRegistration(BaseModel):
    registration_id: str | None = Field(description="None for `POST /v1/callbacks/test`.")
    project: str | None
    observed_at: Moment
    metadata: dict[str, Any] = Field(description="As it was given at registration.")


class AboutJob(AboutRegistration):
    job: EndedJobInFull


class GroupCounts(BaseModel):
    total: int
    succeeded: int
    failed: int
    lost: int
    overdue: int


class AboutGroup(AboutRegistration):
    group: GroupCounts
    jobs: list[EndedJob] = Field(description="Those that did not succeed first.")
    truncated: bool = Field(description="The list was cut.")


class _EventFields(BaseModel):
    id: str = Field(description="The same on every retry and redelivery: drop repeats by it.")
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
    """A callback is tried."""

    type: Literal["callback.test"]
    data: AboutRegistration


class AboutDestination(BaseModel):
    tenant: str
    destination: str
    since: Moment = Field(description="The first of its failures in a row.")
    failures: int
    held: int = Field(description="Deliveries that are not sent, or were not until now.")
    observed_at: Moment


class DestinationEvent(_EventFields):
    """For the operator alone: a destination was disabled, or is called again."""

    type: Literal["destination.disabled", "destination.reopened"]
    data: AboutDestination


AnyEvent = Annotated[JobEvent | GroupEvent | TestEvent, Field(discriminator="type")]


class EventPage(BaseModel):
    items: list[AnyEvent]
    next_cursor: str = Field(description="For `after`, also when nothing came.")
