"""Who may do what: scopes, and the tenant behind a key."""

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    REGISTRATIONS_READ = "registrations:read"
    REGISTRATIONS_WRITE = "registrations:write"
    DELIVERIES_WRITE = "deliveries:write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    tenant: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """`admin` may everything within its tenant."""
        return scope in self.scopes or Scope.ADMIN in self.scopes
