"""A stand-in in the test's own process, with a clock that the test sets."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import tests.support.official_sdk  # noqa: F401
from app.cph.credentials import CphRequest
from app.cph.signing import Key, sign
from app.devkit.standin.__main__ import create_app
from app.devkit.standin.cloud import Cloud


class TimedStandin:
    """A stand-in whose time passes only in `wait`."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)
        self.cloud = Cloud.with_tokens_for(timedelta(hours=24))
        self.cloud.clock = self
        self.client = create_app(self.cloud).test_client()

    def now(self) -> datetime:
        return self._now

    def wait(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)

    def order(self, path: str, order: object) -> None:
        answer = self.client.post(path, json=order)
        assert answer.status_code < 300, answer.text

    def show_job(self, job_id: str) -> Any:
        token, _ = self.cloud.tokens.issue(self.now())
        return self.client.get(self._path(job_id), headers={"X-Auth-Token": token})

    def show_job_signed(
        self, job_id: str, access_key: str, secret_key: str, security_token: str | None = None, *, added: Any = None
    ) -> Any:
        """added: further headers, which are not signed."""
        request = CphRequest("GET", f"http://localhost{self._path(job_id)}", {})
        key = Key(access_key, secret_key, security_token)
        headers = sign(request, key, self.cloud.account.project_id, self.now())
        return self.client.get(self._path(job_id), headers={**headers, **(added or {})})

    def log_in(self, password: str | None = None) -> Any:
        account = self.cloud.account
        user = {"name": account.iam_user, "password": password or account.iam_password}
        identity = {"methods": ["password"], "password": {"user": {**user, "domain": {"name": account.iam_domain}}}}
        auth = {"identity": identity, "scope": {"project": {"id": account.project_id}}}
        return self.client.post("/v3/auth/tokens", json={"auth": auth})

    def _path(self, job_id: str) -> str:
        return f"/v1/{self.cloud.account.project_id}/cloud-phone/jobs/{job_id}"


@pytest.fixture
def timed_standin() -> TimedStandin:
    return TimedStandin()
