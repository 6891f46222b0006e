"""An event: a registered job has ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.domain.job import Job, JobState


class EventType(StrEnum):
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_LOST = "job.lost"
    JOB_OVERDUE = "job.overdue"

    @classmethod
    def of(cls, state: JobState) -> "EventType":
        return cls(f"job.{state}")


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    registration_id: str
    project: str
    job: Job
    observed_at: datetime
    metadata: Mapping[str, Any]

    @property
    def type(self) -> EventType:
        return EventType.of(self.job.state)
