"""Scripted jobs: each runs for the duration in its script, then ends with the scripted outcome."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.devkit.standin.refusal import new_id
from app.domain.times import rfc3339

RUNNING = 1
ENDS = {"succeeded": 2, "failed": -1}


class JobScript(BaseModel):
    """begin_time, end_time: returned unchanged, for examples that must match exactly; default: the real times."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job_id: str = Field(default_factory=new_id)
    request_id: str = Field(default_factory=new_id)
    server_id: str | None = None
    encode_server_id: str | None = None
    phone_id: str | None = Field(
        default_factory=lambda fields: None if fields["server_id"] or fields["encode_server_id"] else new_id()
    )
    duration_s: float = Field(default=3.0, ge=0)
    visible_after_s: float = Field(default=0.0, ge=0)
    outcome: Literal["succeeded", "failed"] = "succeeded"
    error_code: str | None = None
    error_msg: str | None = None
    execute_msg: str | None = None
    begin_time: str | None = None
    end_time: str | None = None

    @property
    def subjects(self) -> dict[str, str | None]:
        """The id fields of the phone and the server that the job concerns: one of them, or both."""
        given = {name: getattr(self, name) for name in ("phone_id", "server_id", "encode_server_id")}
        return {name: id for name, id in given.items() if id} or {"phone_id": None}


class SubmissionRules(BaseModel):
    """How the stand-in treats submissions.

    script: of each job, except for its ids, which are generated. refused: phones and servers for which no job starts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    script: JobScript = Field(default_factory=JobScript)
    refused: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ScriptedJob:
    script: JobScript
    created_at: datetime

    def is_visible(self, now: datetime) -> bool:
        return now >= self.created_at + timedelta(seconds=self.script.visible_after_s)

    def show(self, now: datetime) -> dict[str, Any]:
        """Returns ShowJob's answer: the fields of CPH's published example, in its order."""
        script = self.script
        ends_at = self.created_at + timedelta(seconds=script.duration_s)
        ended = now >= ends_at
        return {
            "error_msg": script.error_msg if ended else None,
            "execute_msg": script.execute_msg if ended else None,
            "job_id": script.job_id,
            **script.subjects,
            "end_time": (script.end_time or rfc3339(ends_at)) if ended else None,
            "begin_time": script.begin_time or rfc3339(self.created_at),
            "error_code": script.error_code if ended else None,
            "request_id": script.request_id,
            "status": ENDS[script.outcome] if ended else RUNNING,
        }


class StandinJobs:
    def __init__(self) -> None:
        self._lock = Lock()
        self._by_id: dict[str, ScriptedJob] = {}
        self._by_request: defaultdict[str, dict[str, ScriptedJob]] = defaultdict(dict)

    def add(self, script: JobScript, now: datetime) -> ScriptedJob:
        """Starts a job; restarts it if the id exists."""
        job = ScriptedJob(script, now)
        with self._lock:
            if old := self._by_id.get(script.job_id):
                del self._by_request[old.script.request_id][script.job_id]
            self._by_id[script.job_id] = self._by_request[script.request_id][script.job_id] = job
        return job

    def find(self, job_id: str, now: datetime) -> ScriptedJob | None:
        job = self._by_id.get(job_id)
        return job if job and job.is_visible(now) else None

    def of_requests(self, request_ids: Iterable[str], now: datetime) -> dict[str, list[ScriptedJob]]:
        """Returns visible jobs by request id, in the given order; a request without jobs has an empty list."""
        with self._lock:
            return {
                request_id: [job for job in self._by_request[request_id].values() if job.is_visible(now)]
                for request_id in request_ids
            }
