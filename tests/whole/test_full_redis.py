"""Redis is full: nothing new is registered, and what is registered comes to its end."""

import pytest

from app.devkit.client import ApiRefused
from tests.whole.conftest import Deployment


def test_what_is_registered_goes_on_when_redis_is_full(running_deployment: Deployment) -> None:
    deployment = running_deployment
    registered = [deployment.register(deployment.job(duration_s=2)) for _ in range(3)]
    deployment.redis.config_set("maxmemory", deployment.redis.info("memory")["used_memory"] // 2)
    try:
        deployment.wait_until_delivered(*registered)
        with pytest.raises(ApiRefused, match="503"):
            deployment.register(deployment.job())
    finally:
        deployment.redis.config_set("maxmemory", 0)
