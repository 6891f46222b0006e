"""Hosts that callbacks are never sent to."""

import pytest

from app.config.denied_hosts import denied
from app.config.settings import load
from app.domain.address import Endpoint
from app.domain.errors import OperatorError

POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


@pytest.mark.parametrize(
    ("settings", "environment", "endpoints"),
    [
        ({}, {}, [Endpoint("127.0.0.1", 6379)]),
        ({"BRIDGE_REDIS_URL": "rediss://u:p@Redis.bridge.svc:6380/1"}, {}, [Endpoint("redis.bridge.svc", 6380)]),
        ({"BRIDGE_REDIS_URL": "unix:///run/redis.sock"}, {}, []),
        (
            {"BRIDGE_REDIS_URL": "redis://redis", "BRIDGE_REDIS_SENTINELS": "a:26379,[fd12::1]:26379"},
            {},
            [Endpoint("a", 26379), Endpoint("fd12::1", 26379)],
        ),
        ({"BRIDGE_REDIS_URL": "unix:///r"}, POD, [Endpoint("10.96.0.1", 6443)]),
        ({"BRIDGE_REDIS_URL": "unix:///r"}, POD | {"KUBERNETES_SERVICE_PORT": "x"}, [Endpoint("10.96.0.1")]),
        (
            {"BRIDGE_REDIS_URL": "unix:///r", "BRIDGE_DENY_HOSTS": "Bridge.example., 10.0.0.1:8080"},
            {},
            [Endpoint("bridge.example"), Endpoint("10.0.0.1", 8080)],
        ),
    ],
)
def test_redis_kubernetes_and_what_the_operator_names_are_denied(settings, environment, endpoints) -> None:
    assert denied(load(settings), environment) == tuple(endpoints)


@pytest.mark.parametrize(
    "text", ["https://bridge.example", "bridge.example:x", "a/b", "user@a", "[::1", ":80", "bücher.example"]
)
def test_what_is_no_host_is_an_error_at_the_start(text: str) -> None:
    with pytest.raises(OperatorError, match=r"BRIDGE_DENY_HOSTS: .* is not host or host:port"):
        denied(load({"BRIDGE_DENY_HOSTS": text}), {})
