"""What the operator lets tenants have: a YAML file in, records out. Who is not in it has what the settings say."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from app.config import yaml_files
from app.config.yaml_files import Strict, problem_in_words
from app.domain.access import TENANT
from app.domain.quota import Quotas

Most = Annotated[int, Field(ge=0, strict=True)]


class _Quotas(Strict):
    registrations: Most | None = None
    destinations: Most | None = None
    deliveries: Most | None = None
    requests: Most | None = None


class Tenant(Strict):
    """projects: names of CPH projects that it may name; None for all."""

    projects: frozenset[str] | None = None
    quotas: _Quotas = _Quotas()

    def quotas_over(self, others: Quotas) -> Quotas:
        """Its own, and for the rest the others."""
        own = self.quotas.model_dump(exclude_none=True)
        return Quotas(
            registrations=own.get("registrations", others.registrations),
            destinations=own.get("destinations", others.destinations),
            deliveries=own.get("deliveries", others.deliveries),
            requests=own.get("requests", others.requests),
        )


EVERYTHING = Tenant()


class _TenantsFile(Strict):
    tenants: dict[Annotated[str, Field(pattern=rf"^{TENANT}$")], Tenant]


def read_tenants(file: Path) -> Mapping[str, Tenant]:
    """By name; the same records while it stays the same. OperatorError names what is wrong."""
    return yaml_files.read(file, _parse, _words)


@lru_cache(maxsize=1)
def _parse(text: str) -> Mapping[str, Tenant]:
    return _TenantsFile.model_validate(yaml_files.load(text)).tenants


def _words(problem: Any) -> str:
    return problem_in_words(problem, ".".join(str(part) for part in problem["loc"]))
