"""Builds the objects that several parts of a process share, from its settings."""

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import logs
from app.bootstrap.cph_clients import CphClients
from app.bootstrap.stores import Stores
from app.config.live_config import LiveConfig
from app.config.reloading import ReloadableMapping
from app.config.settings import Settings, parse_keys, unknown_names, variables
from app.config.tls_files import check_tls_files
from app.cph.client import CphClient
from app.domain import callback_url
from app.domain.cadence import Cadence
from app.domain.delivery import CHAT_MAX_AGE, RetrySchedule, RetrySchedules
from app.domain.destination import lane_of
from app.domain.errors import InvalidField, OperatorError
from app.domain.registration import OPERATOR, operator_registration
from app.observability.exposition import Exposition
from app.observability.metric_definitions import LOG_LINES_DROPPED
from app.observability.metric_registry import MetricRegistry
from app.observability.redis_collector import Overviews, RedisCollector
from app.store.agenda import POLL, Agenda
from app.store.deployment_stats import DeploymentStatsReader
from app.store.destinations import Destinations, Operator
from app.store.engine.clock import RedisClock
from app.store.engine.connection import NO_RETRY
from app.store.engine.scripts import Scripts
from app.store.fitness import Fitness
from app.store.handshakes import Handshakes
from app.store.project_health import ProjectHealths
from app.version import VERSION
from app.webhooks.callback_client import CallbackClient
from app.webhooks.handshake import Handshake
from app.webhooks.sender import Sender
from app.webhooks.signing_keys import SigningKeys

if TYPE_CHECKING:
    from app.observability.tracing import Tracing

METRICS_TIMEOUT = timedelta(seconds=1)


class Runtime:
    """The objects of one process; each is built at its first use.

    patient, stopping: as for Stores. environment: may contain secrets of CPH projects. shared_counts: the folder given
    to app.observability.metric_registry.share.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        patient: bool = False,
        stopping: Callable[[], bool] = lambda: False,
        environment: Mapping[str, str] | None = None,
        shared_counts: Path | None = None,
    ) -> None:
        self.settings = settings
        self.stores = Stores(settings, patient=patient, stopping=stopping)
        self._environment = variables() if environment is None else environment
        self.config = LiveConfig(settings, self._environment)
        self.cph_clients = ReloadableMapping("cph_clients", self._build_clients, time.monotonic)
        self._shared_counts = shared_counts

    @cached_property
    def destinations(self) -> Destinations:
        """Raises OperatorError if callbacks may not reach the operator's URL."""
        settings = self.settings
        return Destinations(
            self.stores.scripts,
            self.stores.cipher,
            concurrency=settings.destination_concurrency,
            rate=settings.destination_rate,
            retention=settings.retention,
            operator=self._operator(),
        )

    def _operator(self) -> Operator | None:
        settings = self.settings
        if not (settings.operator_url and settings.operator_secret):
            return None
        try:
            url = callback_url.parse(settings.operator_url.get_secret_value(), self.config.address_policy, OPERATOR)
        except InvalidField as error:
            raise OperatorError(f"BRIDGE_OPERATOR_URL: {error.detail}") from None
        registration = operator_registration(url, settings.operator_secret.get_secret_value())
        lane = lane_of(registration.tenant, registration.destination)
        return Operator(registration.id, self.stores.registrations.record(registration), registration.tenant, lane)

    @cached_property
    def cadence(self) -> Cadence:
        settings = self.settings
        bounds = (settings.poll_min_s, settings.poll_max_s, settings.poll_cost_s)
        return Cadence(*(timedelta(seconds=seconds) for seconds in bounds))

    @cached_property
    def schedules(self) -> RetrySchedules:
        waits = tuple(timedelta(seconds=wait) for wait in self.settings.retry_schedule)
        chat_waits = tuple(timedelta(seconds=wait) for wait in self.settings.chat_retry_schedule)
        return RetrySchedules(
            RetrySchedule(waits), RetrySchedule(chat_waits, max_age=CHAT_MAX_AGE, drops_duplicates=False)
        )

    @cached_property
    def sender(self) -> Sender:
        """Raises OperatorError if the grants file is wrong; later, the last good one stays in force."""
        self.config.grants.current()
        return Sender(
            policy=lambda: self.config.address_policy,
            deadline=timedelta(seconds=self.settings.attempt_deadline_s),
            user_agent=f"cph-webhook-bridge/{VERSION}",
            clock=self.stores.clock.world_time,
        )

    @cached_property
    def handshake(self) -> Handshake | None:
        """None if CloudEvents receivers need not give permission first."""
        if not (self.settings.cloudevents_handshake and self.settings.cloudevents_origin):
            return None
        handshakes = Handshakes(self.stores.scripts, self.stores.cipher, self.stores.deliveries_due)
        return Handshake(self.sender, handshakes, self.settings.cloudevents_origin)

    @cached_property
    def callback_client(self) -> CallbackClient:
        return CallbackClient(
            self.sender, self.handshake, self.signing_keys.signers, self.settings.link, self.stores.clock.to_sign
        )

    @cached_property
    def signing_keys(self) -> SigningKeys:
        return SigningKeys(parse_keys(self.settings.signing_keys))

    def cph_client(self, project: str) -> CphClient:
        """Builds the client of one project only; other projects may be incomplete."""
        return self._clients.build({project: self.config.project_settings[project]})[project]

    @cached_property
    def metric_registry(self) -> MetricRegistry:
        registry = MetricRegistry(tenants=self.settings.metrics_tenants, shared=self._shared_counts)
        logs.on_drop(partial(registry.count, LOG_LINES_DROPPED))
        return registry

    @cached_property
    def metrics(self) -> Exposition:
        """Metrics of this process and of the whole deployment."""
        redis = self.stores.connect_to_redis(NO_RETRY, timeout=METRICS_TIMEOUT)
        scripts = Scripts(redis, self.stores.replicas)  # read-only: it never waits for replicas
        overviews = Overviews(
            Fitness(scripts),
            DeploymentStatsReader(scripts),
            Agenda(scripts, POLL, lease=self.settings.lease, limits=self.stores.poll_limits),
            ProjectHealths(redis, POLL),
            projects=lambda: self.config.projects,
            clock=RedisClock(scripts, time.time),
        )
        return Exposition(self.metric_registry.collector(), RedisCollector(overviews.read))

    @cached_property
    def tracing(self) -> "Tracing | None":
        """None if tracing is off. Create it after a fork: it sends from a thread of its own."""
        if not self.settings.otel:
            return None
        from app.observability.tracing import over_otlp  # noqa: PLC0415 - it needs the extra `otel`

        return over_otlp()

    def _build_clients(self) -> Mapping[str, CphClient]:
        return self._clients.build(dict(self.config.project_settings))

    @cached_property
    def _clients(self) -> CphClients:
        return CphClients(
            self.settings, self._environment, clock=self.stores.clock.world_time, cache_of=self.stores.shared_tokens
        )

    def check_configuration(self) -> None:
        """Raises OperatorError if a file, or the operator's URL, is invalid now. Later the last good file stays."""
        files: dict[str, ReloadableMapping[Any]] = {
            "BRIDGE_TENANTS_FILE": self.config.tenants,
            "BRIDGE_TEMPLATES_DIR": self.config.templates,
            "BRIDGE_PROJECTS_FILE": self.config.project_settings,
            "BRIDGE_GRANTS_FILE": self.config.grants,
        }
        for setting, mapping in files.items():
            try:
                mapping.current()
            except OperatorError as error:
                raise OperatorError(f"{setting}: {error}") from None
        for name, grant in self.config.grants.current().items():
            if grant.tls:
                check_tls_files(f"BRIDGE_GRANTS_FILE: {self.settings.grants_file}: grants.{name}.tls", grant.tls)
        _ = self.config.address_policy  # raises for a wrong entry of BRIDGE_DENY_HOSTS
        self._operator()

    def warn_of_unknown_settings(self) -> None:
        for name, nearest in unknown_names(self._environment).items():
            hint = f"did you mean {nearest}?" if nearest else "remove it"
            logs.event("settings.unknown", level=logging.WARNING, setting=name, hint=hint)

    def reload(self) -> None:
        """Reads projects, their secrets, grants, templates and tenants again at their next use."""
        self.config.reload()
        self.cph_clients.reload()

    def crash_point(self, name: str) -> None:
        """Kills the process (SIGKILL) if the settings name this point: for tests of crash recovery."""
        if self.settings.test_crash_at == name:
            os.kill(os.getpid(), signal.SIGKILL)
