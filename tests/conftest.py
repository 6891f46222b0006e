"""Fixtures of all tests: a real Redis for the session, emptied for each test, and the stand-in."""

import base64
import itertools
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
import requests

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.devkit.processes import start
from app.devkit.redis_server import RedisServer
from app.domain.event import EventType
from app.domain.ids import new_id
from app.domain.registration import Registration
from app.domain.times import to_ms
from tests.support import tools
from tests.support.receiver import Receiver
from tests.support.served import Served

# Hypothesis counts its own first tables, and other processes of a busy machine, as slowness of a test.
hypothesis.settings.register_profile("bridge", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("bridge")

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(scope="session", autouse=True)
def _warnings_are_for_us() -> None:
    """Turns off encoding warnings in child processes: they may run code that is not ours."""
    os.environ.pop("PYTHONWARNDEFAULTENCODING", None)  # noqa: TID251


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_obeyed() -> None:
    """A shell starts `command &` with SIGINT ignored, and child processes inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def locales(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The value of LOCPATH: a folder with zh_CN.GBK and de_DE.ISO-8859-1."""
    return str(tools.locales(tmp_path_factory.mktemp("locales")))


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
    """A runtime on an empty Redis."""
    runtime = Runtime(settings)
    runtime.stores.redis.flushall()
    yield runtime
    runtime.stores.redis.close()


@pytest.fixture
def stores(runtime: Runtime) -> Stores:
    return runtime.stores


@pytest.fixture
def now() -> datetime:
    """A fixed time. Tests move it themselves."""
    return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def registration(now: datetime) -> Callable[..., Registration]:
    """Makes a registration of tenant `t`, by default for job `job-1`."""
    numbers = itertools.count()

    def make(*job_ids: str, at: datetime = now, **fields: Any) -> Registration:
        return Registration(
            **{
                "id": new_id("reg", to_ms(at), next(numbers)),
                "tenant": "t",
                "project": "default",
                "job_ids": job_ids or ("job-1",),
                "callback_url": "https://bot.example/hooks/secret-path",
                "destination": "https://bot.example:443",
                "secret": SECRET,
                "events": tuple(EventType),
                "metadata": {"room": "ops"},
                "created_at": at,
                "deadline_at": at + timedelta(hours=2),
                **fields,
            }
        )

    return make


@pytest.fixture
def deliveries_of(stores: Stores) -> Callable[..., list[Any]]:
    """Reads the deliveries of tenant `t`, newest first."""

    def find() -> list[Any]:
        found, _ = stores.deliveries.page("t", limit=200, cursor=None, since=None, until=None, wanted=lambda _: True)
        return found

    return find


Start = Callable[..., Served]


@pytest.fixture(scope="session")
def serve() -> Iterator[Start]:
    """Starts a server of app.devkit that ends with the session: serve("standin", *options)."""
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
