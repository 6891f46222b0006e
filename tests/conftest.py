"""What the tests share: a real Redis for the session, emptied for each test."""

import base64
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from app.devkit.redis_server import RedisServer
from app.runtime import Runtime
from app.settings import Settings, load


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def environment(redis_server: RedisServer) -> dict[str, str]:
    """Settings for a bridge on the session's Redis; callbacks may go to loopback."""
    return {
        "BRIDGE_REDIS_URL": redis_server.url,
        "BRIDGE_API_BIND": "127.0.0.1:0",
        "BRIDGE_PROBE_BIND": "127.0.0.1:0",
        "BRIDGE_BOOTSTRAP_KEY": "bootstrap-key-for-tests",
        "BRIDGE_SECRET_KEYS": "k1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "BRIDGE_CPH_PROJECT_ID": "p" * 32,
        "BRIDGE_CPH_ENDPOINT": "http://127.0.0.1:9",
        "BRIDGE_CPH_TOKEN": "token-for-tests",
        "BRIDGE_ALLOW_NETWORKS": "127.0.0.0/8",
    }


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load(environment)


@pytest.fixture
def runtime(settings: Settings) -> Iterator[Runtime]:
    """On an empty Redis."""
    runtime = Runtime(settings)
    runtime.redis.flushall()
    yield runtime
    runtime.redis.close()


@pytest.fixture
def now() -> datetime:
    """The tests own the time: it moves when they say so."""
    return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
