"""Configuration that operators change while the bridge runs: CPH projects, network grants, templates, tenants."""

import time
from collections.abc import Mapping
from functools import cached_property, lru_cache

from app.config.denied_hosts import denied
from app.config.format_catalog import FormatCatalog
from app.config.network_grants import read_grants
from app.config.projects import Project, only_project, read_projects
from app.config.reloading import ReloadableMapping
from app.config.settings import Settings
from app.config.templates import read_templates
from app.config.tenants import UNLISTED, Tenant, read_tenants
from app.domain.address import AddressPolicy
from app.domain.grant import Grant
from app.domain.quota import Quotas
from app.formats.format import Format


class LiveConfig:
    """Each file is read at its first use, and again when it is older than reloading.READ_EVERY_S.

    Raises OperatorError until a file has been read once; later, the last good one stays in force.
    environment: contains the address of the Kubernetes API, which callbacks never reach.
    """

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment
        self.project_settings = ReloadableMapping("projects", self._read_projects, time.monotonic)
        self.grants = ReloadableMapping("grants", self._read_grants, time.monotonic)
        self.templates = ReloadableMapping("templates", self._read_templates, time.monotonic)
        self.tenants = ReloadableMapping("tenants", self._read_tenants, time.monotonic)
        self._policy_with = lru_cache(maxsize=1)(self._build_policy)

    @property
    def projects(self) -> tuple[str, ...]:
        """Names of the CPH projects that callers may use."""
        return tuple(self.project_settings)

    def projects_of(self, tenant: str) -> tuple[str, ...]:
        """Names of the CPH projects that this tenant may use."""
        allowed = self._tenant(tenant).projects
        return tuple(name for name in self.projects if allowed is None or name in allowed)

    def rate_of(self, project: str) -> float | None:
        """Calls per second; None for a project without a rate limit of its own."""
        found = self.project_settings.get(project)
        return found.rate if found else None

    def quotas_of(self, tenant: str) -> Quotas:
        listed = self._tenant(tenant)
        return self._quotas if listed is UNLISTED else listed.quotas_over(self._quotas)

    @cached_property
    def format_catalog(self) -> FormatCatalog:
        """Raises OperatorError if a template is wrong; later, the last good ones stay in force."""
        self.templates.current()
        return FormatCatalog(self.templates)

    @property
    def address_policy(self) -> AddressPolicy:
        """The policy with the current grants; the same object until they change."""
        return self._policy_with(tuple(self.grants.current().values()))

    def reload(self) -> None:
        """Every file is read again at its next use. A signal handler may call this."""
        for mapping in (self.grants, self.templates, self.tenants, self.project_settings):
            mapping.reload()

    def _tenant(self, tenant: str) -> Tenant:
        return self.tenants.current().get(tenant, UNLISTED)

    @cached_property
    def _quotas(self) -> Quotas:
        settings = self._settings
        return Quotas(
            registrations=settings.quota_registrations,
            jobs=settings.quota_jobs,
            destinations=settings.quota_destinations,
            deliveries=settings.quota_deliveries,
            requests=settings.quota_requests,
        )

    def _build_policy(self, grants: tuple[Grant, ...]) -> AddressPolicy:
        return AddressPolicy(
            allow_http=self._settings.allow_http,
            allow_ports=self._settings.allow_ports,
            allow_networks=self._settings.allow_networks,
            grants=grants,
            denied=denied(self._settings, self._environment),
        )

    def _read_projects(self) -> Mapping[str, Project]:
        file = self._settings.projects_file
        return read_projects(file) if file else only_project(self._settings)

    def _read_grants(self) -> Mapping[str, Grant]:
        file = self._settings.grants_file
        return read_grants(file) if file else {}

    def _read_templates(self) -> Mapping[str, Format]:
        folder = self._settings.templates_dir
        return read_templates(folder) if folder else {}

    def _read_tenants(self) -> Mapping[str, Tenant]:
        file = self._settings.tenants_file
        return read_tenants(file) if file else {}
