"""Parses quotas and CPH projects of tenants from a YAML file; the settings apply to tenants not listed there."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from app.config import yaml_files
from app.config.yaml_files import Strict, describe_problem
from app.domain.access import TENANT
from app.domain.quota import Quotas

Limit = Annotated[int, Field(ge=0, strict=True)]


class _Quotas(Strict):
    registrations: Limit | None = None
    jobs: Limit | None = None
    destinations: Limit | None = None
    deliveries: Limit | None = None
    requests: Limit | None = None


class Tenant(Strict):
    """projects: names of the CPH projects that the tenant may use; None for all."""

    projects: frozenset[str] | None = None
    quotas: _Quotas = _Quotas()

    def quotas_over(self, defaults: Quotas) -> Quotas:
        """Returns the tenant's own quotas, with `defaults` for the rest."""
        own = self.quotas.model_dump(exclude_none=True)
        return Quotas(
            registrations=own.get("registrations", defaults.registrations),
            jobs=own.get("jobs", defaults.jobs),
            destinations=own.get("destinations", defaults.destinations),
            deliveries=own.get("deliveries", defaults.deliveries),
            requests=own.get("requests", defaults.requests),
        )


UNLISTED = Tenant()


class _TenantsFile(Strict):
    tenants: dict[Annotated[str, Field(pattern=rf"^{TENANT}$")], Tenant]


def read_tenants(file: Path) -> Mapping[str, Tenant]:
    """Returns the tenants by name; the same objects while the file does not change.

    The OperatorError names the wrong field.
    """
    return yaml_files.read(file, _parse, _describe)


@lru_cache(maxsize=1)
def _parse(text: str) -> Mapping[str, Tenant]:
    return _TenantsFile.model_validate(yaml_files.load(text)).tenants


def _describe(problem: Any) -> str:
    return describe_problem(problem, ".".join(str(part) for part in problem["loc"]))
