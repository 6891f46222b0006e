"""Reads ListJobs record by record: a damaged record costs itself."""

from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

from app.cph.parsing import STATES, UnexpectedAnswer, is_refusal, job_from, not_an_object, read_id
from app.domain import foreign_json
from app.domain.job import Job
from app.transport.client import Reply

RUNNING = 1


@dataclass(frozen=True, slots=True)
class JobPage:
    """whole: the text is sound, so no record is missing. truncated: records are missing."""

    records: list[Any]
    whole: bool = True
    truncated: bool = False


def read_page(reply: Reply) -> JobPage | None:
    """Returns None for an error response. Raises UnexpectedAnswer if no list can be read."""
    payload, whole = _read(reply)
    if not payload:
        raise not_an_object(reply)
    jobs = payload.get("jobs")
    if jobs is None and is_refusal(payload):
        return None
    while isinstance(jobs, list) and reply.truncated and jobs and not _has_status(jobs[-1]):
        jobs.pop()  # the cut went through it
    if not isinstance(jobs, list) or (reply.truncated and not jobs):
        raise UnexpectedAnswer("it has no list of jobs")
    return JobPage(jobs, whole, reply.truncated)


def read_further_page(reply: Reply) -> JobPage | None:
    """As `read_page`, for a page behind a full one: `"jobs": null` is the end of the list."""
    payload, whole = _read(reply)
    if whole and "jobs" in payload and payload["jobs"] is None and not is_refusal(payload):
        return JobPage([])
    return read_page(reply)


@dataclass(slots=True)
class JobList:
    """Jobs by what the list shows of them; of a job that it shows twice, the end counts.

    doubtful: jobs whose status cannot be read or is not known. records, unreadable: how many there are of them.
    """

    running: set[str] = field(default_factory=set)
    ended: dict[str, Job] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    records: int = 0
    unreadable: int = 0

    def add(self, records: list[Any]) -> bool:
        """Returns whether any job was new."""
        known = self._size()
        self.records += len(records)
        for record in records:
            job_id = read_id(record.get("job_id")) if isinstance(record, dict) else None
            if job_id is None:
                self.unreadable += 1
            else:
                self._add(job_id, record)
        self.running -= self.ended.keys()
        self.doubtful -= self.running | self.ended.keys()
        return self._size() > known

    def shows(self, job_ids: Set[str]) -> bool:
        return len(job_ids) <= self._size() and job_ids <= self.running | self.ended.keys() | self.doubtful

    def _add(self, job_id: str, record: dict[str, Any]) -> None:
        status = record.get("status")
        if type(status) is int and status == RUNNING:
            self.running.add(job_id)
            return
        job = job_from(record, job_id)
        if job.state.ended:
            self.ended.setdefault(job_id, job)
        elif job.status in STATES:
            self.running.add(job_id)
        else:
            self.doubtful.add(job_id)
            self.unreadable += job.status is None

    def _size(self) -> int:
        return len(self.running) + len(self.ended) + len(self.doubtful)


def _has_status(record: object) -> bool:
    return isinstance(record, dict) and foreign_json.integer(record.get("status")) is not None


def _read(reply: Reply) -> tuple[dict[str, Any], bool]:
    try:
        payload = foreign_json.read_value(reply.body)
    except ValueError:
        return foreign_json.read_object(reply.body), False
    return (payload if isinstance(payload, dict) else {}), True
