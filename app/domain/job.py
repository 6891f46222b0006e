"""A CPH job, as far as the bridge knows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from app.domain.times import from_ms, rfc3339, to_ms


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


class UnresolvedReason(StrEnum):
    """Why CPH has shown no end of a job."""

    STILL_RUNNING = "still_running"
    NEVER_SEEN = "never_seen"
    CPH_UNREACHABLE = "cph_unreachable"
    CPH_REFUSED = "cph_refused"
    CPH_THROTTLED = "cph_throttled"
    UNREADABLE = "unreadable"
    NOT_LISTED = "not_listed"


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why a job was lost or is overdue. last_answer_at: when CPH last answered about the job, or its request.

    last_error: code of the last call that failed since, such as "APIGW.0802" or "HTTP 502".
    """

    reason: UnresolvedReason
    last_answer_at: datetime | None = None
    last_error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields in the order in which subscribers see them."""
        answered = self.last_answer_at
        return {
            "reason": self.reason,
            "last_answer_at": rfc3339(answered) if answered else None,
            "last_error": self.last_error,
        }

    def as_stored(self) -> dict[str, Any]:
        answered = self.last_answer_at
        return self.as_dict() | {"last_answer_at": to_ms(answered) if answered else None}

    @classmethod
    def from_stored(cls, values: Mapping[str, Any]) -> Self | None:
        """Reverses `as_stored`. Returns None for a reason of a newer version."""
        if values.get("reason") not in frozenset(UnresolvedReason):
            return None
        answered = values.get("last_answer_at")
        return cls(
            UnresolvedReason(values["reason"]),
            None if answered is None else from_ms(answered),
            values.get("last_error"),
        )


@dataclass(frozen=True, slots=True)
class Job:
    """Times are RFC 3339 text as CPH sent them. status: CPH's number (1, 2, -1, or an unknown one).

    job_id: None if CPH refused the job at once, and for a request for which CPH has never listed a job.
    unresolved: of a lost or overdue job; None if an earlier version ended it.
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
    unresolved: Unresolved | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields in the order in which subscribers see them, without `unresolved`."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "unresolved"}

    def as_stored(self) -> dict[str, Any]:
        return self.as_dict() | ({"unresolved": self.unresolved.as_stored()} if self.unresolved else {})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Reverses `as_stored`. Missing fields keep their defaults; fields of a newer version are ignored."""
        known = {name: values[name] for name in cls.__slots__ if name in values}
        if known.get("unresolved"):
            known["unresolved"] = Unresolved.from_stored(known["unresolved"])
        return cls(**{"job_id": None} | known | {"state": JobState(values["state"])})
