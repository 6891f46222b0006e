"""A Redis whose administrator takes rights from the bridge's user while the API serves."""

from pathlib import Path

import pytest
from redis import Redis

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from tests.support.api_client import KEY, ApiCaller, problem
from tests.support.redis_group import CLIENTS, PASSWORD, USER, RedisGroup


@pytest.mark.parametrize("lost", ["-evalsha", "resetkeys", "-@all"])
def test_callers_get_503_while_redis_refuses_the_bridge(tmp_path: Path, environment: dict[str, str], lost: str) -> None:
    with RedisGroup(tmp_path, replicas=0) as group:
        url = {"BRIDGE_REDIS_URL": group.url(group.first).replace("//:", f"//{USER}:"), "BRIDGE_BOOTSTRAP_KEY": KEY}
        api = ApiCaller(Runtime(load(environment | url)))
        assert api.call("GET", "/readyz").status_code == 200
        with Redis(host=CLIENTS, port=group.first, password=PASSWORD) as administrator:
            administrator.execute_command("ACL", "SETUSER", USER, lost)
        for call in (("GET", "/v1/registrations"), ("GET", "/v1/keys")):
            problem(api.call(*call), 503)
        api.runtime.stores.redis.close()
