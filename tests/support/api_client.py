"""Calls to an API in this process."""

from typing import Any

from werkzeug.test import TestResponse

from app.api.app import create_app
from app.bootstrap.runtime import Runtime

KEY = "bootstrap-key-for-tests"
SMALLEST = {"job_id": "6837531fd3f54550927b930180a706bf", "callback_url": "http://127.0.0.1:9/hooks/s3cret"}


class ApiCaller:
    """Calls with the bootstrap key by default."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.app = create_app(runtime)

    def call(
        self, method: str, path: str, *, key: str | None = KEY, headers: dict[str, str] | None = None, **details: Any
    ) -> TestResponse:
        all_headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        # A buffered answer is closed, which releases what it occupies; a stream does not end by itself.
        details.setdefault("buffered", not path.startswith("/v1/events/stream"))
        return self.app.test_client().open(path, method=method, headers=all_headers, **details)

    def get(self, path: str, **details: Any) -> Any:
        """The body of the answer, whose status must be 200."""
        answer = self.call("GET", path, **details)
        assert answer.status_code == 200, answer.text
        return answer.json

    def register(self, *, headers: dict[str, str] | None = None, key: str | None = KEY, **fields: Any) -> TestResponse:
        """Registers with the smallest body, changed by these fields."""
        return self.call("POST", "/v1/registrations", json=SMALLEST | fields, headers=headers, key=key)

    def registered(self, **fields: Any) -> Any:
        answer = self.register(**fields)
        assert answer.status_code == 201, answer.text
        return answer.json


def problem(answer: TestResponse, status: int) -> Any:
    """The problem body of the answer. Checks its status and the fields of every problem."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    body = answer.json
    assert body["status"] == status
    assert body["title"]
    assert body["type"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["X-Request-Id"]
    return body
