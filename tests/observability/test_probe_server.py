"""The probe server, by itself."""

from collections.abc import Iterator

import pytest
import requests

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.domain.errors import OperatorError, Unavailable
from app.observability import probe_server


@pytest.fixture(params=["unix:///nowhere/redis.sock", None], ids=["unavailable", "available"])
def probe_target(environment: dict[str, str], request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """The URL of a probe server, and the status that /readyz should have."""
    runtime = Runtime(load(environment | ({"BRIDGE_REDIS_URL": request.param} if request.param else {})))
    listener = probe_server.listen("BRIDGE_PROBE_BIND", "127.0.0.1:0")
    with probe_server.ProbeServer(listener, probe_server.probes(runtime.stores.redis.ping)) as server:
        server.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", 503 if request.param else 200
        server.shutdown()
    runtime.stores.redis.close()


def test_readiness_is_whether_redis_answers_and_life_is_not(probe_target: tuple[str, int]) -> None:
    url, readiness = probe_target
    answers = [requests.get(url + path, timeout=10).status_code for path in ("/healthz", "/readyz", "/nothing")]
    assert answers == [200, readiness, 404]


def test_a_probe_says_what_is_missing_and_names_no_address() -> None:
    def check() -> None:
        raise Unavailable("Redis cannot be reached: Error 111 connecting to 10.0.0.1:6379. Connection refused.")

    page = probe_server.probes(check)["/readyz"]()
    assert (page.status, page.body) == (503, b"Redis cannot be reached\n")


@pytest.mark.parametrize("bind", ["", "127.0.0.1", "unix:/x", "127.0.0.1:x", "127.0.0.1:65536", "203.0.113.1:1"])
def test_an_address_that_cannot_be_had_is_named(bind: str) -> None:
    with pytest.raises(OperatorError, match="BRIDGE_PROBE_BIND"):
        probe_server.listen("BRIDGE_PROBE_BIND", bind)


def test_ipv6_will_do() -> None:
    with probe_server.listen("BRIDGE_PROBE_BIND", "[::1]:0") as listener:
        assert probe_server.url_of(listener).startswith("http://[::1]:")
