"""The API in this process, on a real Redis. test_api_served.py runs it under gunicorn."""

import base64
from collections.abc import Callable, Iterator

import pytest
from werkzeug.test import TestResponse

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.devkit.redis_server import RedisServer
from tests.support.api_client import KEY, ApiCaller


@pytest.fixture(scope="session")
def one_api(redis_server: RedisServer) -> Iterator[ApiCaller]:
    """One for the session: building it takes longer than most of these tests."""
    environment = {
        "BRIDGE_REDIS_URL": redis_server.url,
        "BRIDGE_BOOTSTRAP_KEY": KEY,
        "BRIDGE_SECRET_KEYS": "k0:" + base64.b64encode(bytes(32)).decode(),
        "BRIDGE_CPH_PROJECT_ID": "p" * 32,
        "BRIDGE_ALLOW_NETWORKS": "127.0.0.0/8",
    }
    runtime = Runtime(load(environment))
    yield ApiCaller(runtime)
    runtime.stores.redis.close()


@pytest.fixture
def api(one_api: ApiCaller) -> ApiCaller:
    """The API of the session, on an empty Redis."""
    one_api.runtime.stores.redis.flushall()
    return one_api


@pytest.fixture
def stream(api: ApiCaller) -> Iterator[Callable[..., TestResponse]]:
    """Opens event streams, and closes them after the test."""
    opened = []

    def open_stream(query: str = "", **headers: str) -> TestResponse:
        path = f"/v1/events/stream{query}"
        all_headers = {"Authorization": f"Bearer {KEY}", **headers}
        answer = api.app.test_client().get(path, headers=all_headers, buffered=False)
        opened.append(answer)
        return answer

    yield open_stream
    for answer in opened:
        answer.close()
