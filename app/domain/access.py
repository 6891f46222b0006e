"""Who may do what: scopes, and the tenant behind a key."""

import re
from dataclasses import dataclass, field
from enum import StrEnum

# A tenant is part of names in Redis and of places of sealed values, so neither `:` nor `|`.
TENANT = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
TENANT_NAME = re.compile(TENANT)


class Scope(StrEnum):
    REGISTRATIONS_READ = "registrations:read"
    REGISTRATIONS_WRITE = "registrations:write"
    DELIVERIES_WRITE = "deliveries:write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """key_id: of what was shown, for the audit log; it is no secret."""

    tenant: str
    scopes: frozenset[Scope]
    key_id: str = field(default="", compare=False)

    def may(self, scope: Scope) -> bool:
        """`admin` may everything within its tenant."""
        return scope in self.scopes or Scope.ADMIN in self.scopes
