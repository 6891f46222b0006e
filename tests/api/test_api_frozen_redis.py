"""A Redis that has stopped in the middle of everything: connections open and nobody answers, or do not even open."""

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

# 2 s for the clock, twice 2 s for what was asked. Tries within tries, more of the clock, or one request behind another
# come to more than 12 s.
BOUND_S = 9.0
CALLS = (("GET", "/readyz"), ("GET", "/v1/registrations"), ("GET", "/v1/keys"), ("POST", "/v1/registrations"))


@contextmanager
def nobody_else_gets_in(port: int) -> Iterator[None]:
    """Until the kernel has no room for one more connection that nobody accepts."""
    with ExitStack() as stack:
        for _ in range(20):
            try:
                stack.enter_context(socket.create_connection((CLIENTS, port), timeout=0.5))
            except TimeoutError:
                break
        else:
            pytest.fail("connections go on to open")
        yield


@pytest.mark.parametrize("opens", [True, False])
def test_a_frozen_redis_is_a_503_within_seconds(tmp_path: Path, environment: dict[str, str], opens: bool) -> None:
    with RedisGroup(tmp_path, replicas=0, options=("--tcp-backlog", "1")) as group, ExitStack() as stack:
        url = {"BRIDGE_REDIS_URL": group.url(group.first), "BRIDGE_QUOTA_REQUESTS": "100", "BRIDGE_BOOTSTRAP_KEY": KEY}
        api = ApiCaller(Runtime(load(environment | url)))
        stack.callback(api.runtime.stores.redis.close)
        assert api.call("GET", "/readyz").status_code == 200  # over a connection that stays; nothing else is known yet
        group.freeze(group.first)
        if not opens:
            stack.enter_context(nobody_else_gets_in(group.first))

        def answered(call: tuple[str, str]) -> float:
            began = time.monotonic()
            problem(api.call(*call, headers={"Idempotency-Key": "k"}), 503)
            return time.monotonic() - began

        with ThreadPoolExecutor(len(CALLS)) as threads:
            took = list(threads.map(answered, CALLS))
        assert max(took) < BOUND_S, took
