"""Builds what a process needs from the settings; beside stores.py and clients.py the only place that constructs."""

import os
import signal
import time
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from app.api.auth.jwt_tokens import ClaimPaths, IssuerKeys, JwtAuthenticator, looks_like_token
from app.bootstrap.cph_clients import Clients, only_project
from app.bootstrap.stores import Stores
from app.config.denied_hosts import denied
from app.config.format_catalog import Catalogue
from app.config.network_grants import read_grants
from app.config.projects import Project, read_projects
from app.config.reloading import ReloadableMapping
from app.config.settings import Settings, parse_keys, variables
from app.config.templates import read_templates
from app.config.tenants import EVERYTHING, Tenant, read_tenants
from app.cph.client import CphClient
from app.domain import callback_url
from app.domain.access import Principal
from app.domain.address import AddressPolicy
from app.domain.cadence import Cadence
from app.domain.delivery import CHAT_LATEST, Schedule
from app.domain.destination import lane_of
from app.domain.errors import InvalidField, OperatorError
from app.domain.grant import Grant
from app.domain.quota import Quotas
from app.domain.registration import OPERATOR, for_operator
from app.formats.format import Format
from app.observability.exposition import Exposition
from app.observability.metric_registry import Counts
from app.observability.redis_collector import Overviews, RedisCollector
from app.store.agenda import POLL, Agenda
from app.store.deployment_stats import DeploymentStatsReader
from app.store.destinations import Destinations, Operator
from app.store.engine.clock import RedisClock
from app.store.engine.connection import BRIEF
from app.store.engine.scripts import Scripts
from app.store.fitness import Fitness
from app.store.handshakes import Handshakes
from app.store.project_health import ProjectHealths
from app.version import VERSION
from app.webhooks.handshake import Handshake
from app.webhooks.sender import Sender
from app.webhooks.signing_keys import SigningKeys

if TYPE_CHECKING:
    from app.observability.tracing import Tracing

METRICS_ANSWER = timedelta(seconds=1)


class Runtime(Stores):
    """What a process of the bridge needs, each part built when it is first used.

    patient: as for Stores. environment: where secrets of CPH projects may be. shared_counts: the folder given to
    app.observability.metric_registry.share.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        patient: bool = False,
        environment: Mapping[str, str] | None = None,
        shared_counts: Path | None = None,
    ) -> None:
        super().__init__(settings, patient=patient)
        self._shared_counts = shared_counts
        self._environment = variables() if environment is None else environment
        self.project_settings = ReloadableMapping("projects", self._read_projects, time.monotonic)
        self.cph_clients = ReloadableMapping("cph_clients", self._build_clients, time.monotonic)
        self.grants = ReloadableMapping("grants", self._read_grants, time.monotonic)
        self.templates = ReloadableMapping("templates", self._read_templates, time.monotonic)
        self.tenants = ReloadableMapping("tenants", self._read_tenants, time.monotonic)
        self._policy_with = lru_cache(maxsize=1)(self._build_policy)

    def principal_of(self, shown: str) -> Principal | None:
        """Who shows this API key or JWT; None for nobody."""
        if self._tokens and looks_like_token(shown):
            return self._tokens.principal(shown)
        return self.api_keys.principal(shown)

    @cached_property
    def _tokens(self) -> JwtAuthenticator | None:
        settings = self.settings
        if not (settings.oidc_issuer and settings.oidc_audience):
            return None
        keys = IssuerKeys(settings.oidc_issuer, settings.oidc_keys_url, settings.oidc_ca_file, time.monotonic)
        claimed = ClaimPaths(settings.oidc_tenant_claim, settings.oidc_scopes_claim, frozenset(settings.oidc_scopes))
        return JwtAuthenticator(keys, issuer=settings.oidc_issuer, audience=settings.oidc_audience, claimed=claimed)

    @cached_property
    def destinations(self) -> Destinations:
        """OperatorError if callbacks may not go to the operator's URL."""
        settings = self.settings
        return Destinations(
            self.scripts,
            places=settings.lane_places,
            rate=settings.lane_rate,
            retention=settings.retention,
            operator=self._operator(),
        )

    def _operator(self) -> Operator | None:
        settings = self.settings
        if not (settings.operator_url and settings.operator_secret):
            return None
        try:
            url = callback_url.parse(settings.operator_url.get_secret_value(), self.address_policy, OPERATOR)
        except InvalidField as error:
            raise OperatorError(f"BRIDGE_OPERATOR_URL: {error.detail}") from None
        registration = for_operator(url, settings.operator_secret.get_secret_value())
        lane = lane_of(registration.tenant, registration.destination)
        return Operator(registration.id, self.registrations.record(registration), registration.tenant, lane)

    @cached_property
    def cadence(self) -> Cadence:
        settings = self.settings
        bounds = (settings.poll_min_s, settings.poll_max_s, settings.poll_cost_s)
        return Cadence(*(timedelta(seconds=seconds) for seconds in bounds))

    @cached_property
    def schedule(self) -> Schedule:
        return Schedule(tuple(timedelta(seconds=wait) for wait in self.settings.retry_schedule))

    @cached_property
    def chat_schedule(self) -> Schedule:
        waits = tuple(timedelta(seconds=wait) for wait in self.settings.chat_retry_schedule)
        return Schedule(waits, latest=CHAT_LATEST, repeats=False)

    @cached_property
    def catalogue(self) -> Catalogue:
        """OperatorError if a template is wrong: later, the last good ones hold."""
        self.templates.current()
        return Catalogue(self.templates)

    @property
    def address_policy(self) -> AddressPolicy:
        """With the grants as they are now; the very same while they do not change."""
        return self._policy_with(tuple(self.grants.current().values()))

    @cached_property
    def sender(self) -> Sender:
        """OperatorError if the file of grants is wrong: later, the last good one holds."""
        self.grants.current()
        return Sender(
            policy=lambda: self.address_policy,
            deadline=timedelta(seconds=self.settings.attempt_deadline_s),
            user_agent=f"cph-webhook-bridge/{VERSION}",
            clock=self.clock,
        )

    @cached_property
    def handshake(self) -> Handshake | None:
        """None where receivers of CloudEvents are not asked first."""
        if not (self.settings.cloudevents_handshake and self.settings.cloudevents_origin):
            return None
        memory = Handshakes(self.scripts, self.sealer, self.deliveries_due)
        return Handshake(self.sender, memory, self.settings.cloudevents_origin)

    @cached_property
    def signing_keys(self) -> SigningKeys:
        return SigningKeys(parse_keys(self.settings.signing_keys))

    @property
    def projects(self) -> tuple[str, ...]:
        """Names of the CPH projects that callers may name."""
        return tuple(self.project_settings)

    def projects_of(self, tenant: str) -> tuple[str, ...]:
        """Those of them that this tenant may name."""
        allowed = self._tenant(tenant).projects
        return tuple(name for name in self.projects if allowed is None or name in allowed)

    def quotas_of(self, tenant: str) -> Quotas:
        known = self._tenant(tenant)
        return self._quotas if known is EVERYTHING else known.quotas_over(self._quotas)

    def _tenant(self, tenant: str) -> Tenant:
        return self.tenants.current().get(tenant, EVERYTHING)

    @cached_property
    def _quotas(self) -> Quotas:
        settings = self.settings
        return Quotas(
            registrations=settings.quota_registrations,
            destinations=settings.quota_destinations,
            deliveries=settings.quota_deliveries,
            requests=settings.quota_requests,
        )

    def cph_client(self, project: str) -> CphClient:
        """Of one project alone: what another lacks does not matter."""
        return self._clients.build({project: self.project_settings[project]})[project]

    def rate_of(self, project: str) -> float | None:
        """Calls a second, if the project has a rate of its own."""
        found = self.project_settings.get(project)
        return found.rate if found else None

    def reload(self) -> None:
        """Reads the projects, their secrets, the grants, the templates and the tenants anew at their next use."""
        self.grants.reload()
        self.templates.reload()
        self.tenants.reload()
        self.project_settings.reload()
        self.cph_clients.reload()

    @cached_property
    def counts(self) -> Counts:
        return Counts(tenants=self.settings.metrics_tenants, shared=self._shared_counts)

    @cached_property
    def metrics(self) -> Exposition:
        """Of this process, and of the whole deployment."""
        redis = self._connect(BRIEF, answer_time=METRICS_ANSWER)
        scripts = Scripts(redis, self.replicas)  # it reads, and acknowledges nothing
        overviews = Overviews(
            Fitness(scripts),
            DeploymentStatsReader(scripts),
            Agenda(scripts, POLL, lease=self.settings.lease, pace=self._poll_pace),
            ProjectHealths(redis, POLL),
            projects=lambda: self.projects,
            clock=RedisClock(redis, time.time),
        )
        return Exposition(self.counts.collector(), RedisCollector(overviews.read))

    @cached_property
    def tracing(self) -> "Tracing | None":
        """None where it is off. To be made behind a fork: it sends on a thread of its own."""
        if not self.settings.otel:
            return None
        from app.observability.tracing import over_otlp  # noqa: PLC0415 - it stands on an extra

        return over_otlp()

    def _read_projects(self) -> Mapping[str, Project]:
        file = self.settings.projects_file
        return read_projects(file) if file else only_project(self.settings)

    def _read_grants(self) -> Mapping[str, Grant]:
        file = self.settings.grants_file
        return read_grants(file) if file else {}

    def _read_templates(self) -> Mapping[str, Format]:
        folder = self.settings.templates_dir
        return read_templates(folder) if folder else {}

    def _read_tenants(self) -> Mapping[str, Tenant]:
        file = self.settings.tenants_file
        return read_tenants(file) if file else {}

    def _build_policy(self, grants: tuple[Grant, ...]) -> AddressPolicy:
        return AddressPolicy(
            allow_http=self.settings.allow_http,
            allow_ports=self.settings.allow_ports,
            allow_networks=self.settings.allow_networks,
            grants=grants,
            denied=denied(self.settings, self._environment),
        )

    def _build_clients(self) -> Mapping[str, CphClient]:
        return self._clients.build(dict(self.project_settings))

    @cached_property
    def _clients(self) -> Clients:
        return Clients(self.settings, self._environment, clock=self.clock, cache_of=self._shared_tokens)

    def crash_point(self, name: str) -> None:
        """Ends the process as kill -9 does, if the settings name this point: for tests of what survives."""
        if self.settings.crash_at == name:
            os.kill(os.getpid(), signal.SIGKILL)
