"""A registration: "tell this URL when these jobs end"."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.domain.event import EventType
from app.domain.job import JobState


class RegistrationState(StrEnum):
    WATCHING = "watching"
    FINISHED = "finished"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Registration:
    """What a caller asked for; it never changes. `callback_url` and `secret` are credentials: never log them."""

    id: str
    tenant: str
    project: str
    job_ids: tuple[str, ...]
    callback_url: str
    destination: str  # scheme, host and port: what shares a lane
    secret: str
    events: tuple[EventType, ...]
    metadata: Mapping[str, Any]
    created_at: datetime
    deadline_at: datetime
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a registration has come."""

    state: RegistrationState
    jobs: Mapping[str, JobState]
    pending: int
    delivered: int
    dead: int
