"""Waits until enough replicas of Redis hold a write, before it is acknowledged to a caller."""

from datetime import timedelta
from typing import Any

from redis.client import Pipeline

from app.domain.errors import Unavailable
from app.store.engine import keys
from app.store.engine.client import Client

WAIT_TIMEOUT = timedelta(seconds=1)  # shorter than the timeout for a reply of Redis
MILLISECOND = timedelta(milliseconds=1)


class Replicas:
    """count: how many replicas must hold an acknowledged write; 0: the primary is enough."""

    def __init__(self, redis: Client, count: int) -> None:
        self._redis = redis
        self._count = count

    def execute(self, pipeline: Pipeline, *, raise_on_error: bool = True) -> list[Any]:
        """Runs the pipeline; returns its replies once enough replicas hold what it has written and read.

        Raises Unavailable if too few do in time. The write stays, and reaches them unless the primary is replaced.
        """
        if not self._count:
            return pipeline.execute(raise_on_error)
        # On the same connection: another may lead to another server. WAIT covers only its own writes. A value that was
        # just read (a stored response) may be another client's recent write, so a marker is written after it.
        pipeline.set(keys.held(), "")
        pipeline.execute_command("WAIT", self._count, WAIT_TIMEOUT // MILLISECOND)  # type: ignore[no-untyped-call] # redis-py's
        *answers, _, confirmed = pipeline.execute(raise_on_error)
        if isinstance(confirmed, Exception) or confirmed < self._count:
            # A failover may have replaced the primary without its knowledge: let all connections look it up again.
            self._redis.connection_pool.disconnect(inuse_connections=False)
            raise Unavailable(f"too few replicas hold what was written: {confirmed} of {self._count}")
        return answers
