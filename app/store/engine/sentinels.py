"""Asks the Sentinels which replicas a failover may promote."""

from typing import Any

from redis.exceptions import RedisError
from redis.sentinel import SentinelConnectionPool

from app.store.engine.client import Client


def count_known_replicas(redis: Client) -> int | None:
    """Returns the most replicas that any Sentinel knows, also those that are down: they may come back.

    None if the client uses no Sentinels, or none of them answers.
    """
    pool = redis.connection_pool
    if not isinstance(pool, SentinelConnectionPool):
        return None
    manager: Any = pool.sentinel_manager
    return max(
        (known for each in manager.sentinels if (known := _count(each, pool.service_name)) is not None), default=None
    )


def _count(sentinel: Any, service: str) -> int | None:
    try:
        return len(sentinel.sentinel_slaves(service))
    except RedisError:
        return None
