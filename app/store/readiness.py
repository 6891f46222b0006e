"""Readiness: whether this process may receive requests."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app import logs
from app.domain.errors import Unavailable, UnfitRedis
from app.store.engine.client import Client
from app.store.fitness import Fitness

LOG_EVERY_S = 60.0


class Readiness:
    """A process is ready once it has seen a fit Redis, and while Redis answers."""

    def __init__(self, redis: Client, fitness: Fitness) -> None:
        self._redis = redis
        self._fitness = fitness
        self._was_fit = False
        self._logged_reason = ""
        self._log_at = 0.0

    def check(self) -> None:
        """Raises Unavailable if the process is not ready."""
        if self._was_fit:
            with self._logged():
                self._redis.ping()
        else:
            self.check_first()

    def check_first(self) -> None:
        """Same as `check`, but does nothing once a Redis was fit."""
        if self._was_fit:
            return
        with self._logged():
            self._fitness.check()
        self._was_fit = True

    @contextmanager
    def _logged(self) -> Iterator[None]:
        """Logs why the process is not ready: at once if the reason is new, else once in LOG_EVERY_S."""
        try:
            yield
        except UnfitRedis as error:
            self._log("redis.unfit", logging.CRITICAL, str(error))
            raise Unavailable(str(error)) from error
        except Unavailable as error:
            self._log("redis.unavailable", logging.ERROR, str(error))
            raise
        self._logged_reason = ""

    def _log(self, event: str, level: int, reason: str) -> None:
        if reason != self._logged_reason or time.monotonic() >= self._log_at:
            self._logged_reason, self._log_at = reason, time.monotonic() + LOG_EVERY_S
            logs.event(event, level=level, reason=reason)
