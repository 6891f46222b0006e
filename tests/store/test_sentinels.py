"""Redis by its Sentinels: real ones, with passwords of their own."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import NoPermissionError

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.domain.errors import Unavailable
from tests.support.redis_group import SENTINEL_PASSWORD, RedisGroup

pytestmark = pytest.mark.slow  # processes start, and die

BOUND_S = 20.0


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisGroup]:
    with RedisGroup(tmp_path_factory.mktemp("group"), sentinels=3) as group:
        yield group


def close(stores: Stores) -> None:
    for client in (stores.redis, stores.rq_redis):
        client.close()
        client.connection_pool.sentinel_manager.close()


def test_user_and_passwords_are_shown_to_redis_and_to_the_sentinels(group: RedisGroup, registration) -> None:
    runtime = Runtime(load(group.settings))
    runtime.stores.registrations.add(registration())
    assert runtime.stores.redis.acl_whoami() == "bridge"
    assert runtime.stores.rq_redis.ping()
    with pytest.raises(NoPermissionError):
        runtime.stores.redis.config_set("maxmemory", "1")
    close(runtime.stores)


def test_a_sentinel_that_refuses_us_names_no_primary(group: RedisGroup, registration) -> None:
    runtime = Runtime(load(group.settings | {"BRIDGE_REDIS_SENTINEL_PASSWORD": "another"}))
    with pytest.raises(Unavailable, match="no Sentinel names a primary"):
        runtime.stores.registrations.add(registration())
    close(runtime.stores)


def test_the_sentinels_password_is_rotated_and_who_kept_the_old_one_finds_no_other_primary(
    tmp_path: Path, registration
) -> None:
    """As docs/operations.md says it."""
    with RedisGroup(tmp_path, sentinels=3) as group:
        kept, given = (
            Runtime(load(group.settings | {"BRIDGE_REDIS_SENTINEL_PASSWORD": password}))
            for password in (SENTINEL_PASSWORD, "another")
        )
        kept.stores.registrations.add(registration())
        group.tell_sentinels("ACL", "SETUSER", "default", ">another")
        group.tell_sentinels("SENTINEL", "CONFIG", "SET", "sentinel-pass", "another")
        given.stores.registrations.add(registration())
        group.sentinel_password = "another"
        group.tell_sentinels("ACL", "SETUSER", "default", f"<{SENTINEL_PASSWORD}")
        group.tell_sentinels("CLIENT", "KILL", "USER", "default")
        kept.stores.registrations.add(registration())
        group.processes[group.first].kill()
        group.wait_until_promoted()
        with pytest.raises(Unavailable, match=r"no Sentinel names a primary.*BRIDGE_REDIS_SENTINEL"):
            kept.stores.registrations.add(registration())
        given.stores.registrations.add(registration())
        close(kept)
        close(given)


def test_a_primary_that_was_parted_from_all_but_us_acknowledges_nothing_and_is_left(
    tmp_path: Path, registration
) -> None:
    """Nothing breaks our connections to it, so that only the replicas it lacks can tell us."""
    with RedisGroup(tmp_path, replicas=2, sentinels=3) as group:
        runtime = Runtime(load(group.settings | {"BRIDGE_WAIT_REPLICAS": "1"}))
        runtime.stores.registrations.add(registration())
        lost, kept = registration(), registration()
        with group.door.shut_on_servers():
            group.wait_until_replaced()
            with pytest.raises(Unavailable, match="too few replicas"):
                runtime.stores.registrations.add(lost)
            runtime.stores.registrations.add(kept)
            assert runtime.stores.registrations.get("t", kept.id)
            assert runtime.stores.registrations.get("t", lost.id) is None
        close(runtime.stores)


def test_a_client_follows_when_the_primary_is_replaced(group: RedisGroup, settings: Settings, registration) -> None:
    """Planned, as before an upgrade of Redis: nothing has failed, and the first one lives on as a replica."""
    runtime = Runtime(load(group.settings | {"BRIDGE_WAIT_REPLICAS": "1"}))
    before, after = registration(), registration()
    runtime.stores.registrations.add(before)
    group.fail_over()
    begun = time.monotonic()
    while True:
        try:
            runtime.stores.registrations.add(after)
            break
        except Unavailable:
            assert time.monotonic() - begun < BOUND_S
    assert runtime.stores.registrations.get("t", before.id)
    assert runtime.stores.rq_redis.set("rq:x", "y")
    close(runtime.stores)
