"""Builds the Redis connections and one store for each noun, each at its first use."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import Any

from redis import Redis

from app import logs
from app.config.settings import Settings, parse_keys
from app.store.agenda import DELIVER, POLL, Agenda, LaneLimits
from app.store.api_keys import ApiKeys
from app.store.cph_tokens import SharedTokens
from app.store.data_marker import DataMarker
from app.store.deadlines import Deadlines
from app.store.deliveries import Deliveries
from app.store.dispatcher_lock import DispatcherLock
from app.store.durations import SeenDurations
from app.store.encryption.cipher import Cipher
from app.store.engine.client import Client
from app.store.engine.clock import RedisClock
from app.store.engine.connection import NO_RETRY, PATIENT, QUICK, Connection, ReserveClient, RetryPolicy, connect
from app.store.engine.memory_guard import MemoryGuard
from app.store.engine.replicas import Replicas
from app.store.engine.scripts import Scripts
from app.store.events import Events
from app.store.fitness import Fitness
from app.store.gone_urls import GoneUrls
from app.store.idempotency import IdempotencyClaims
from app.store.jobs import Jobs
from app.store.project_health import ProjectHealths
from app.store.readiness import Readiness
from app.store.reconciler import Reconciler
from app.store.registrations import Registrations
from app.store.request_rates import RequestQuota
from app.store.requests import Requests
from app.store.watches import Watches
from app.store.workers import Workers


class Stores:
    """patient: retry through short failures of Redis and go on when it is full, as workers do; otherwise they raise
    within seconds.

    stopping: whether the process is to end, which ends its patience.
    """

    def __init__(
        self, settings: Settings, *, patient: bool = False, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self.settings = settings
        self._patient = patient
        self._retry_policy = replace(PATIENT if patient else QUICK, stopping=stopping)
        self._timeout = timedelta(seconds=5 if patient else 2)

    @cached_property
    def redis(self) -> Client:
        return self.connect_to_redis(self._retry_policy)

    @cached_property
    def rq_redis(self) -> Redis:
        """For RQ, which handles redis-py's own errors and reads bytes."""
        client: Redis = self._connect(QUICK, ReserveClient, self._timeout)
        return client

    @cached_property
    def clock(self) -> RedisClock:
        return RedisClock(self.scripts, time.time)

    @cached_property
    def replicas(self) -> Replicas:
        return Replicas(self.redis, self.settings.wait_replicas)

    @cached_property
    def scripts(self) -> Scripts:
        return Scripts(self.redis, self.replicas)

    @cached_property
    def fitness(self) -> Fitness:
        """For checks at startup. It does not retry, so that an unavailable Redis does not delay the start."""
        return Fitness(Scripts(self.redis.with_retries(NO_RETRY), self.replicas))

    @cached_property
    def readiness(self) -> Readiness:
        return Readiness(self.redis, self.fitness)

    @cached_property
    def cipher(self) -> Cipher:
        keys = parse_keys(self.settings.secret_keys)
        if not keys:
            remedy = "set BRIDGE_SECRET_KEYS to what `cph-bridge secret-key` prints"
            logs.event("secrets.unencrypted", level=logging.WARNING, remedy=remedy)
        return Cipher(keys)

    @cached_property
    def api_keys(self) -> ApiKeys:
        key = self.settings.bootstrap_key
        bootstrap = key.get_secret_value() if key else None
        return ApiKeys(self.scripts, self.clock, time.monotonic, bootstrap=bootstrap)

    @cached_property
    def registrations(self) -> Registrations:
        return Registrations(self.scripts, self.cipher, self.gone_urls, retention=self.settings.retention)

    @cached_property
    def claims(self) -> IdempotencyClaims:
        """They live as long as a lease, which outlasts any attempt."""
        return IdempotencyClaims(self.redis, self.replicas, self.cipher, life=self.settings.lease)

    @cached_property
    def gone_urls(self) -> GoneUrls:
        return GoneUrls(self.redis, self.cipher, retention=self.settings.retention)

    @cached_property
    def watches(self) -> Watches:
        return Watches(self.scripts, self.cipher, retention=self.settings.retention)

    @cached_property
    def deadlines(self) -> Deadlines:
        return Deadlines(self.scripts, retention=self.settings.retention)

    @cached_property
    def requests(self) -> Requests:
        settings = self.settings
        quiet, grace = timedelta(seconds=settings.request_quiet_s), timedelta(seconds=settings.lost_grace_s)
        return Requests(self.scripts, self.cipher, quiet=quiet, grace=grace, retention=settings.retention)

    @cached_property
    def durations(self) -> SeenDurations:
        return SeenDurations(self.redis, self.clock, retention=self.settings.retention)

    @cached_property
    def deliveries(self) -> Deliveries:
        return Deliveries(self.scripts, self.cipher, self.registrations, retention=self.settings.retention)

    @cached_property
    def events(self) -> Events:
        return Events(self.scripts, self.cipher, self.registrations)

    @cached_property
    def jobs(self) -> Jobs:
        return Jobs(self.scripts, self.cipher, self.registrations)

    @cached_property
    def request_quota(self) -> RequestQuota:
        return RequestQuota(self.scripts, self.clock)

    @cached_property
    def memory_guard(self) -> MemoryGuard:
        return MemoryGuard(self.redis, time.monotonic)

    @cached_property
    def dispatcher_lock(self) -> DispatcherLock:
        return DispatcherLock(self.scripts)

    @cached_property
    def data_marker(self) -> DataMarker:
        return DataMarker(self.scripts)

    @cached_property
    def reconciler(self) -> Reconciler:
        return Reconciler(self.scripts, retention=self.settings.retention)

    @cached_property
    def polls_due(self) -> Agenda:
        """A rate-limited lane for each CPH project."""
        return Agenda(self.scripts, POLL, lease=self.settings.lease, limits=self.poll_limits)

    @property
    def poll_limits(self) -> LaneLimits:
        return LaneLimits(rate=self.settings.cph_rate, burst=1, concurrency=self.settings.cph_concurrency)

    @cached_property
    def deliveries_due(self) -> Agenda:
        """A lane for each tenant and destination."""
        limits = LaneLimits(
            rate=self.settings.destination_rate, burst=1, concurrency=self.settings.destination_concurrency
        )
        return Agenda(self.scripts, DELIVER, lease=self.settings.lease, limits=limits)

    @cached_property
    def workers(self) -> Workers:
        return Workers(self.redis)

    @cached_property
    def project_healths(self) -> ProjectHealths:
        return ProjectHealths(self.redis, POLL)

    def shared_tokens(self, project: str, whose: str) -> SharedTokens:
        return SharedTokens(self.redis, self.cipher, project=project, whose=whose, login=self.settings.cph_timeout)

    def connect_to_redis(self, tries: RetryPolicy, *, timeout: timedelta | None = None) -> Client:
        client: Client = self._connect(tries, Connection, timeout or self._timeout)
        return client

    def _connect(self, tries: RetryPolicy, kind: type[ReserveClient], timeout: timedelta) -> Any:
        settings = self.settings
        password = settings.redis_sentinel_password
        return connect(
            settings.redis_url.get_secret_value(),
            sentinels=settings.redis_sentinels,
            sentinel_user=settings.redis_sentinel_user,
            sentinel_password=password.get_secret_value() if password else None,
            service=settings.redis_sentinel_service,
            retries=tries,
            timeout=timeout,
            kind=kind,
            uses_reserve=self._patient,
        )
