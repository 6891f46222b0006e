"""A frozen Redis: new connections open but get no answer, or do not even open."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from tests.support.api_client import KEY, ApiCaller, problem
from tests.support.redis_group import CLIENTS, RedisGroup

# 2 s to read the clock, twice 2 s for the call itself. With nested retries, more readings of the clock, or requests
# that wait for one another, the total would exceed 12 s.
BOUND_S = 9.0
CALLS = (("GET", "/readyz"), ("GET", "/v1/registrations"), ("GET", "/v1/keys"), ("POST", "/v1/registrations"))


@contextmanager
def full_accept_queue(port: int) -> Iterator[None]:
    """Opens connections that nobody connects, until the kernel opens no more."""
    with ExitStack() as stack:
        for _ in range(20):
            try:
                stack.enter_context(socket.create_connection((CLIENTS, port), timeout=0.5))
            except TimeoutError:
                break
        else:
            pytest.fail("the kernel still opens connections")
        yield


@pytest.mark.parametrize("connects", [True, False])
def test_a_frozen_redis_is_a_503_within_seconds(tmp_path: Path, environment: dict[str, str], connects: bool) -> None:
    with RedisGroup(tmp_path, replicas=0, options=("--tcp-backlog", "1")) as group, ExitStack() as stack:
        url = {"BRIDGE_REDIS_URL": group.url(group.first), "BRIDGE_QUOTA_REQUESTS": "100", "BRIDGE_BOOTSTRAP_KEY": KEY}
        api = ApiCaller(Runtime(load(environment | url)))
        stack.callback(api.runtime.stores.redis.close)
        assert api.call("GET", "/readyz").status_code == 200  # leaves an open connection; nothing else is cached yet
        group.freeze(group.first)
        if not connects:
            stack.enter_context(full_accept_queue(group.first))

        def seconds_until_503(call: tuple[str, str]) -> float:
            began = time.monotonic()
            problem(api.call(*call, headers={"Idempotency-Key": "k"}), 503)
            return time.monotonic() - began

        with ThreadPoolExecutor(len(CALLS)) as threads:
            took = list(threads.map(seconds_until_503, CALLS))
        assert max(took) < BOUND_S, took
