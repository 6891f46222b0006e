"""The stand-in and the inbox as their users run them: child processes on free ports."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from app.devkit.processes import Process, start

with pytest.MonkeyPatch.context() as patch:
    # As it is imported, the official SDK writes a file into the home directory.
    patch.delenv("HOME", raising=False)
    import huaweicloudsdkcore.http.user_agent  # noqa: F401


class Served:
    """One of the two, what it said of itself, and a connection to it."""

    def __init__(self, process: Process, session: requests.Session) -> None:
        self.process = process
        self.about = process.announcement()
        self.session = session

    def call(self, method: str, path: str, **details: Any) -> requests.Response:
        return self.session.request(method, self.about["url"] + path, timeout=10, **details)

    def order(self, path: str, order: object) -> Any:
        """An order to the thing itself, which must take it."""
        answer = self.call("POST", path, json=order)
        assert answer.ok, answer.text
        return answer.json()

    def cph(self, path: str = "", **details: Any) -> requests.Response:
        headers = {"X-Auth-Token": self.about["token"]}
        return self.call("GET", f"/v1/{self.about['project_id']}/cloud-phone/jobs{path}", headers=headers, **details)

    def job(self, **script: Any) -> dict[str, Any]:
        job: dict[str, Any] = self.order("/_standin/jobs", script)["jobs"][0]
        return job


Start = Callable[..., Served]


@pytest.fixture(scope="session")
def serve() -> Iterator[Start]:
    """serve("standin", *options): starts one that ends with the session."""
    with ExitStack() as stack:

        def start_one(name: str, *options: str) -> Served:
            process = stack.enter_context(start([sys.executable, "-m", f"app.devkit.{name}", *options]))
            return Served(process, stack.enter_context(requests.Session()))

        yield start_one


@pytest.fixture(scope="session")
def one_standin(serve: Start) -> Served:
    return serve("standin")


@pytest.fixture
def standin(one_standin: Served) -> Served:
    one_standin.call("DELETE", "/_standin/faults")
    return one_standin
