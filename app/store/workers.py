"""Workers, from RQ's registry."""

from datetime import datetime, timedelta

from app.domain.times import parse_rfc3339
from app.store.engine import keys
from app.store.engine.client import Client
from app.store.wrong_clocks import read_wrong_clocks


class Workers:
    def __init__(self, redis: Client) -> None:
        self._redis = redis

    def last_heartbeats(self, kind: str, now: datetime) -> list[datetime]:
        """Returns the last heartbeat of each registered worker, latest first.

        RQ writes it by the worker's own clock. If that clock is known to be wrong, it is put right here, to world time.
        """
        ahead = {clock.name: clock.ahead for clock in read_wrong_clocks(self._redis, now)}
        pipeline = self._redis.pipeline(transaction=False)
        for worker in self._redis.smembers(keys.rq_workers(kind)):
            pipeline.hmget(worker, "last_heartbeat", "hostname")
        heartbeats = ((parse_rfc3339(at), ahead.get(host or "", timedelta())) for at, host in pipeline.execute())
        return sorted((at - off for at, off in heartbeats if at), reverse=True)
