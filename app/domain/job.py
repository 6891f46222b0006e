"""A CPH job, as far as the bridge knows it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class JobState(StrEnum):
    """The bridge's states of a job. The last four are final."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    OVERDUE = "overdue"

    @property
    def ended(self) -> bool:
        return self not in (JobState.PENDING, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Job:
    """Times are RFC 3339 text as CPH sent them. status: CPH's number (1, 2, -1, or an unknown one).

    job_id: None if CPH refused the job at once, and for a request for which CPH has never listed a job.
    """

    job_id: str | None
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

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields in the order in which subscribers see them."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Reverses `as_dict`. Missing fields keep their defaults; fields of a newer version are ignored."""
        known = {name: values[name] for name in cls.__slots__ if name in values}
        return cls(**{"job_id": None} | known | {"state": JobState(values["state"])})
