"""Authorisation: scopes, and the tenant that a key belongs to."""

import re
from dataclasses import dataclass, field
from enum import StrEnum

# Redis keys and the contexts of encrypted values contain the tenant, so `:` and `|` are not allowed.
TENANT = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
TENANT_NAME = re.compile(TENANT)


class Scope(StrEnum):
    REGISTRATIONS_READ = "registrations:read"
    REGISTRATIONS_WRITE = "registrations:write"
    DELIVERIES_WRITE = "deliveries:write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. key_id: identifies the credential in the audit log; not secret."""

    tenant: str
    scopes: frozenset[Scope]
    key_id: str = field(default="", compare=False)

    def may(self, scope: Scope) -> bool:
        """Returns True if the scope is granted; `admin` includes every scope within its tenant."""
        return scope in self.scopes or Scope.ADMIN in self.scopes
