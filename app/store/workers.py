"""Workers, from RQ's registry."""

from datetime import datetime

from app.domain.times import parse_rfc3339
from app.store.engine import keys
from app.store.engine.client import Client


class Workers:
    def __init__(self, redis: Client) -> None:
        self._redis = redis

    def last_heartbeats(self, kind: str) -> list[datetime]:
        """Returns the last heartbeat of each registered worker, latest first."""
        pipeline = self._redis.pipeline(transaction=False)
        for worker in self._redis.smembers(keys.rq_workers(kind)):
            pipeline.hget(worker, "last_heartbeat")
        return sorted(filter(None, map(parse_rfc3339, pipeline.execute())), reverse=True)
