"""Reads an event from a file, in the format `standard`."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, TextIO

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from app.domain.errors import OperatorError
from app.domain.event import Event, Group
from app.domain.job import Job, JobState, Unresolved, UnresolvedReason

EXAMPLE = "use one from `GET /v1/events`, from the body of a `standard` callback, or from docs/contract.md"


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be within the years 1 to 9999") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class _Unresolved(BaseModel):
    reason: UnresolvedReason | None = None
    last_answer_at: Moment | None = None
    last_error: str | None = None

    def unresolved(self) -> Unresolved | None:
        return Unresolved(self.reason, self.last_answer_at, self.last_error) if self.reason else None


class _Job(_Unresolved):
    job_id: str | None = None
    state: JobState
    status: int | None = None
    request_id: str | None = None
    phone_id: str | None = None
    server_id: str | None = None
    begin_time: str | None = None
    end_time: str | None = None
    error_code: str | None = None
    error_msg: str | None = None
    execute_msg: str | None = None

    def job(self) -> Job:
        return replace(Job.from_dict(self.model_dump()), unresolved=self.unresolved())


class _Data(_Unresolved):
    registration_id: str | None = None
    project: str | None = None
    job: _Job | None = None
    group: dict[str, int] | None = None
    jobs: list[_Job] = []
    truncated: bool = False
    observed_at: Moment
    metadata: dict[str, Any] = {}


class _EventInFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str = Field(pattern="^evt_")
    type: str
    timestamp: Moment
    data: _Data


def read_event(file: TextIO) -> Event:
    """Reads and validates an event. Raises OperatorError that names the file and the fault."""
    name = file.name
    try:
        parsed = _EventInFile.model_validate_json(file.read())
    except UnicodeDecodeError:
        raise OperatorError(f"{name}: is not UTF-8; {EXAMPLE}") from None
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        location = ".".join(str(part) for part in fault["loc"])
        raise OperatorError(f"{name}: {location or 'not an event'}: {fault['msg']}; {EXAMPLE}") from None
    data = parsed.data
    job = replace(data.job.job(), unresolved=data.unresolved()) if data.job else None
    subject = job if job else _group(data) if data.group is not None else None
    event = Event(parsed.id, data.registration_id, data.project, subject, data.observed_at, data.metadata)
    kind = event.type if data.job is None or data.job.state.ended else f"no event: the job is {data.job.state}"
    if kind != parsed.type:
        raise OperatorError(f"{name}: type: is {parsed.type!r}, but its data makes it {str(kind)!r}")
    return event


def _group(data: _Data) -> Group:
    jobs = [job.job().as_stored() for job in data.jobs]
    return Group.from_dict({"counts": data.group, "jobs": jobs, "truncated": data.truncated})
