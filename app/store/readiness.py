"""Whether this process may be sent requests."""

import logging

from app import logs
from app.domain.errors import Unavailable, UnfitRedis
from app.store.engine.client import Client
from app.store.fitness import Fitness


class Readiness:
    """Not before it has seen a Redis that is fit."""

    def __init__(self, redis: Client, fitness: Fitness) -> None:
        self._redis = redis
        self._fitness = fitness
        self._was_fit = False
        self._told = ""

    def check(self) -> None:
        """Unavailable while it may not."""
        if self._was_fit:
            self._redis.ping()
        else:
            self.check_first()

    def check_first(self) -> None:
        """As `check`, but asks nothing once a Redis was fit."""
        if self._was_fit:
            return
        try:
            self._fitness.check()
        except UnfitRedis as error:
            self._tell(str(error))
            raise Unavailable(str(error)) from error
        self._was_fit = True

    def _tell(self, reason: str) -> None:
        if reason != self._told:
            self._told = reason
            logs.event("redis.unfit", level=logging.CRITICAL, reason=reason)
