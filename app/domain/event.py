"""Events: a registered job ended, all jobs of a registration ended, a callback is tested, or a destination changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from app.domain.job import Job, JobState

FINISHED = "finished"  # the end of a registration's jobs as a group
TEST = "test"  # a test call; no job ended


class EventType(StrEnum):
    """The event types that a registration can subscribe to."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_LOST = "job.lost"
    JOB_OVERDUE = "job.overdue"
    GROUP_FINISHED = "group.finished"

    @property
    def end(self) -> str:
        return self.partition(".")[2]


class OwnEventType(StrEnum):
    """The bridge's own event types, which nobody can subscribe to."""

    CALLBACK_TEST = "callback.test"
    DESTINATION_DISABLED = "destination.disabled"
    DESTINATION_REOPENED = "destination.reopened"


def event_type(end: str) -> EventType | OwnEventType:
    """Returns the event type. end: the state of an ended job, FINISHED, TEST, or a destination's OwnEventType."""
    if end == TEST:
        return OwnEventType.CALLBACK_TEST
    if end in frozenset(OwnEventType):
        return OwnEventType(end)
    return EventType.GROUP_FINISHED if end == FINISHED else EventType(f"job.{end}")


@dataclass(frozen=True, slots=True)
class DestinationChange:
    """since: the first of its failures in a row. held: number of deliveries that are on hold, or were until now."""

    type: OwnEventType
    tenant: str
    destination: str
    since: datetime
    failures: int
    held: int


@dataclass(frozen=True, slots=True)
class Group:
    """The outcome of all jobs of a registration. jobs: unsuccessful ones first. truncated: `jobs` is incomplete."""

    counts: Mapping[JobState, int]
    jobs: tuple[Job, ...]
    truncated: bool

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        counts = {state: values["counts"].get(state, 0) for state in JobState if state.ended}
        return cls(counts, tuple(Job.from_dict(job) for job in values["jobs"]), values["truncated"])


@dataclass(frozen=True, slots=True)
class Event:
    """about: None for a test. registration_id, project: None for a test without a registration."""

    id: str
    registration_id: str | None
    project: str | None
    about: Job | Group | DestinationChange | None
    observed_at: datetime
    metadata: Mapping[str, Any]

    @property
    def type(self) -> EventType | OwnEventType:
        match self.about:
            case Job(state=state):
                return event_type(state)
            case Group():
                return EventType.GROUP_FINISHED
            case DestinationChange(type=type):
                return type
            case _:
                return OwnEventType.CALLBACK_TEST
