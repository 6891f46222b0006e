"""A CPH job, as far as the bridge knows it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class JobState(StrEnum):
    """What the bridge says of a job. The last four are ends."""

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
    """Times are RFC 3339 text as CPH sent them; `status` is CPH's number (1, 2, -1, or one nobody has seen).

    job_id: None for what CPH refused at once, and for a request of which it has never shown a job.
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
        """In the order in which subscribers see the fields."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Back from `as_dict`; fields that are missing are unknown, fields of a newer version are left out."""
        known = {name: values[name] for name in cls.__slots__ if name in values}
        return cls(**{"job_id": None} | known | {"state": JobState(values["state"])})
