"""A CPH of our own, after the facts of its API: ShowJob and ListJobs over jobs that the load makes."""

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.faults.answers import Answer, HttpServer, Request

PROJECT_ID = "5f0c" * 8
TOKEN = "marker-cph-token-6a1f"
OUTPUT = "marker-output"  # of every job: subscribers see it, and nobody else
PAGE = 100
REQUESTS_AT_ONCE = 20
RUNNING, SUCCEEDED, FAILED = 1, 2, -1
# A look at a call before it is answered: an answer in place of CPH's, or None.
Behaviour = Callable[[Request], Answer | None]
# Changes what is shown of a job.
Twist = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class CphJob:
    """began, ends: monotonic, s."""

    job_id: str
    request_id: str
    began: float
    ends: float
    status: int

    @property
    def outcome(self) -> str:
        return "job.succeeded" if self.status == SUCCEEDED else "job.failed"

    def show(self) -> dict[str, Any]:
        ended = time.monotonic() >= self.ends
        return {
            "job_id": self.job_id,
            "request_id": self.request_id,
            "phone_id": self.job_id[::-1],
            "begin_time": _utc(self.began),
            "end_time": _utc(self.ends) if ended else None,
            "status": self.status if ended else RUNNING,
            "error_code": "CPS.0004" if ended and self.status == FAILED else None,
            "error_msg": "refused" if ended and self.status == FAILED else None,
            "execute_msg": f"{OUTPUT} of {self.job_id}" if ended else None,
        }


class CphServer:
    def __init__(self) -> None:
        self.behave: Behaviour = lambda _: None
        self.twist: Twist = lambda job: job
        self._lock = Lock()
        self._jobs: dict[str, CphJob] = {}
        self.calls: list[float] = []  # times of all calls
        self.server = HttpServer(self._answer)

    def start(self, *, runs_s: float, succeeds: bool = True, request_id: str | None = None) -> CphJob:
        now = time.monotonic()
        job = CphJob(new_id(), request_id or new_id(), now, now + runs_s, SUCCEEDED if succeeds else FAILED)
        with self._lock:
            self._jobs[job.job_id] = job
        return job

    def job(self, job_id: str) -> CphJob | None:
        with self._lock:
            return self._jobs.get(job_id)

    def of_request(self, request_id: str) -> list[CphJob]:
        with self._lock:
            return [job for job in self._jobs.values() if job.request_id == request_id]

    def _answer(self, request: Request) -> Answer:
        self.calls.append(request.began)
        if changed := self.behave(request):
            return changed
        if request.headers.get("x-auth-token") != TOKEN:
            return refusal(401, "APIGW.0301", "Incorrect IAM authentication information")
        url = urlsplit(request.path)
        base = f"/v1/{PROJECT_ID}/cloud-phone/jobs"
        if url.path == base:
            return self._list(parse_qs(url.query))
        if not url.path.startswith(f"{base}/"):
            return refusal(404, "APIGW.0101", "The API does not exist")
        job = self.job(url.path.removeprefix(f"{base}/"))
        return answer_json(self.twist(job.show())) if job else refusal(404, "CPS.0011", "The job does not exist.")

    def _list(self, query: dict[str, list[str]]) -> Answer:
        wanted = [id for id in (query.get("request_ids") or query.get("request_id") or [""])[0].split(",") if id]
        offset, limit = int(query.get("offset", ["0"])[0]), int(query.get("limit", ["100"])[0])
        if not wanted:
            return refusal(400, "CPS.0049", "The request id is empty.")
        if len(wanted) > REQUESTS_AT_ONCE:
            return refusal(400, "CPS.0161", "Too many request ids.")
        groups = [self.of_request(id) for id in wanted]
        if not all(groups):
            return refusal(400, "CPS.0050", "No jobs for the request id.")
        jobs = [job for group in groups for job in group][offset : offset + min(limit, PAGE)]
        shown = [
            self.twist({name: value for name, value in job.show().items() if name != "request_id"}) for job in jobs
        ]
        return answer_json({"request_id": new_id(), "jobs": shown})


def new_id() -> str:
    return secrets.token_hex(16)


def answer_json(value: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def refusal(status: int, code: str, message: str) -> Answer:
    return answer_json({"request_id": new_id(), "error_code": code, "error_msg": message}, status)


def _utc(at: float) -> str:
    """at: monotonic, s."""
    moment = datetime.fromtimestamp(time.time() - time.monotonic() + at, UTC)  # noqa: TID251
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
