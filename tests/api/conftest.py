"""The API in this process, on a real Redis; test_api_served.py has it served."""

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
    """Building one takes longer than most of these tests."""
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
    """On an empty Redis."""
    one_api.runtime.stores.redis.flushall()
    return one_api


@pytest.fixture
def stream(api: ApiCaller) -> Iterator[Callable[..., TestResponse]]:
    """Opens one, which ends with the test."""
    opened = []

    def open_one(query: str = "", **headers: str) -> TestResponse:
        path = f"/v1/events/stream{query}"
        sent = {"Authorization": f"Bearer {KEY}", **headers}
        answer = api.app.test_client().get(path, headers=sent, buffered=False)
        opened.append(answer)
        return answer

    yield open_one
    for answer in opened:
        answer.close()
