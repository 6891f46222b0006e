"""Replicas of Redis: what must be on them before anybody is told that it is kept."""

from datetime import timedelta
from typing import Any

from redis.client import Pipeline

from app.domain.errors import Unavailable
from app.store.engine import keys
from app.store.engine.client import Client

AT_MOST = timedelta(seconds=1)  # below the time that any answer of Redis may take
MILLISECOND = timedelta(milliseconds=1)


class Replicas:
    """count: how many must hold what is acknowledged; 0 leaves it to the primary alone."""

    def __init__(self, redis: Client, count: int) -> None:
        self._redis = redis
        self._count = count

    def execute(self, pipeline: Pipeline, *, raise_on_error: bool = True) -> list[Any]:
        """The pipeline's answers, once enough replicas hold what it has written, and what it has read.

        Unavailable if too few do in time: what was written stays, and reaches them unless the primary is replaced.
        """
        if not self._count:
            return pipeline.execute(raise_on_error)
        # On the same connection: another may lead to another server by now. WAIT is about what this one has written;
        # what it has read alone (a kept answer) others may have written just before, so something is written behind it.
        pipeline.set(keys.held(), "")
        pipeline.execute_command("WAIT", self._count, AT_MOST // MILLISECOND)  # type: ignore[no-untyped-call] # redis-py's
        *answers, _, holding = pipeline.execute(raise_on_error)
        if isinstance(holding, Exception) or holding < self._count:
            # It may have been replaced without knowing it: let all ask anew who the primary is.
            self._redis.connection_pool.disconnect(inuse_connections=False)
            raise Unavailable(f"too few replicas hold what was written: {holding} of {self._count}")
        return answers
