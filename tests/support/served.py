"""A server of app.devkit (stand-in or inbox) in a child process, and a client of it."""

from typing import Any

import requests

from app.devkit.processes import Process


class Served:
    """about: the server's announcement of its address and credentials."""

    def __init__(self, process: Process, session: requests.Session) -> None:
        self.process = process
        self.about = process.announcement()
        self.session = session

    def call(self, method: str, path: str, **details: Any) -> requests.Response:
        return self.session.request(method, self.about["url"] + path, timeout=10, **details)

    def order(self, path: str, body: object) -> Any:
        """Sends a control request to the server, which must succeed."""
        answer = self.call("POST", path, json=body)
        assert answer.ok, answer.text
        return answer.json()

    def cph(self, path: str = "", **details: Any) -> requests.Response:
        headers = {"X-Auth-Token": self.about["token"]}
        return self.call("GET", f"/v1/{self.about['project_id']}/cloud-phone/jobs{path}", headers=headers, **details)

    def job(self, **script: Any) -> dict[str, Any]:
        job: dict[str, Any] = self.order("/_standin/jobs", script)["jobs"][0]
        return job

    def jobs(self, count: int, **script: Any) -> list[dict[str, Any]]:
        """Creates `count` jobs of one new request."""
        first = self.job(**script)
        others = [{"request_id": first["request_id"]} | script for _ in range(count - 1)]
        return [first, *(self.order("/_standin/jobs", others)["jobs"] if others else [])]

    def end(self, job: dict[str, Any], **script: Any) -> None:
        """Ends the job now."""
        self.job(**{"job_id": job["job_id"], "request_id": job["request_id"], "duration_s": 0} | script)
