"""CPH's ShowJob and ListJobs, with its limits and error codes."""

from dataclasses import dataclass
from datetime import datetime

from flask import Blueprint, Response, request

from app.devkit.serving import json_answer
from app.devkit.standin.cloud import Cloud
from app.devkit.standin.gateway import Gateway
from app.devkit.standin.refusal import CallRefused, new_id

MAX_REQUEST_IDS = 20
JOBS_PER_PAGE = 100


@dataclass(frozen=True, slots=True)
class CphApi:
    cloud: Cloud
    gateway: Gateway

    def routes(self) -> Blueprint:
        routes = Blueprint("cph", __name__, url_prefix="/v1/<project_id>/cloud-phone/jobs")
        routes.add_url_rule("/<job_id>", view_func=self.show_job)
        routes.add_url_rule("", view_func=self.list_jobs)
        return routes

    def show_job(self, project_id: str, job_id: str) -> Response:
        with self.cloud.calls.count("show_job", job_id):
            now = self.gateway.admit("show_job", project_id)
            return self.gateway.answer("show_job", now, lambda: self._job(job_id, now), {job_id})

    def list_jobs(self, project_id: str) -> Response:
        with self.cloud.calls.count("list_jobs"):
            now = self.gateway.admit("list_jobs", project_id)
            request_ids = _request_ids()
            by_request = self.cloud.jobs.of_requests(request_ids, now)
            job_ids = {job.script.job_id for jobs in by_request.values() for job in jobs}
            return self.gateway.answer("list_jobs", now, lambda: self._page(request_ids, now), job_ids)

    def _job(self, job_id: str, now: datetime) -> Response:
        job = self.cloud.jobs.find(job_id, now)
        if job is None:
            raise CallRefused(404, "CPS.0011", "The job does not exist.")
        return json_answer(job.show(now))

    def _page(self, request_ids: list[str], now: datetime) -> Response:
        if not request_ids:
            raise CallRefused(400, "CPS.0049", "The request id is empty.")
        if len(request_ids) > MAX_REQUEST_IDS:
            raise CallRefused(400, "CPS.0161", f"More than {MAX_REQUEST_IDS} request ids.")
        offset, limit = _paging()
        by_request = self.cloud.jobs.of_requests(request_ids, now)
        # CPH's description, read strictly: one request id without jobs fails the whole call.
        if not all(by_request.values()):
            raise CallRefused(400, "CPS.0050", "No jobs for the request id.")
        shown = [job.show(now) for jobs in by_request.values() for job in jobs]
        for job in shown:
            del job["request_id"]
        page = shown[offset : offset + limit]
        self.cloud.calls.count_listed(job["job_id"] for job in page)
        return json_answer({"request_id": new_id(), "jobs": page})


def _request_ids() -> list[str]:
    joined = request.args.get("request_ids") or request.args.get("request_id", "")
    return [request_id for request_id in joined.split(",") if request_id]


def _paging() -> tuple[int, int]:
    try:
        offset = int(request.args.get("offset", 0))
        limit = int(request.args.get("limit", JOBS_PER_PAGE))
    except ValueError:
        offset, limit = -1, 0
    if offset < 0 or not 1 <= limit <= JOBS_PER_PAGE:
        raise CallRefused(400, "CPS.0002", "The offset or the limit is out of range.")
    return offset, limit
