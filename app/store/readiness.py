"""Readiness: whether this process may receive requests."""

import logging

from app import logs
from app.domain.errors import Unavailable, UnfitRedis
from app.store.engine.client import Client
from app.store.fitness import Fitness


class Readiness:
    """A process is ready once it has seen a fit Redis, and while Redis answers."""

    def __init__(self, redis: Client, fitness: Fitness) -> None:
        self._redis = redis
        self._fitness = fitness
        self._was_fit = False
        self._logged_reason = ""

    def check(self) -> None:
        """Raises Unavailable if the process is not ready."""
        if self._was_fit:
            self._redis.ping()
        else:
            self.check_first()

    def check_first(self) -> None:
        """Same as `check`, but does nothing once a Redis was fit."""
        if self._was_fit:
            return
        try:
            self._fitness.check()
        except UnfitRedis as error:
            self._log(str(error))
            raise Unavailable(str(error)) from error
        self._was_fit = True

    def _log(self, reason: str) -> None:
        if reason != self._logged_reason:
            self._logged_reason = reason
            logs.event("redis.unfit", level=logging.CRITICAL, reason=reason)
