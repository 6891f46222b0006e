"""Clocks that are known to be wrong: Redis' own while it is corrected, and those of machines that report it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.times import to_ms
from app.store.agenda import MILLISECOND
from app.store.engine import keys
from app.store.engine.client import Client
from app.store.engine.unreadable import moment, whole

REDIS = "redis"
REPORT_LIFE = timedelta(minutes=5)  # a machine reports every few seconds


@dataclass(frozen=True, slots=True)
class WrongClock:
    """name: `redis`, or a machine's. ahead: negative if it is behind. since: of Redis' clock."""

    name: str
    ahead: timedelta
    since: datetime | None = None


def read_wrong_clocks(redis: Client, now: datetime) -> list[WrongClock]:
    """Raises Unavailable."""
    pipeline = redis.pipeline(transaction=False)
    pipeline.hmget(keys.clock(), "correction", "since")
    pipeline.hgetall(keys.wrong_clocks())
    (correction, since), reports = pipeline.execute()
    ahead = -whole(correction, 0) * MILLISECOND
    clocks = [WrongClock(REDIS, ahead, moment(since))] if ahead else []
    for machine, report in sorted(reports.items()):
        ahead_ms, _, reported = report.partition(" ")
        age = (to_ms(now) - whole(reported, 0)) * MILLISECOND
        if abs(age) < REPORT_LIFE and (ahead := whole(ahead_ms, 0) * MILLISECOND):
            clocks.append(WrongClock(machine, ahead))
    return clocks
