"""Network grants by the operator: access to addresses that are otherwise blocked, and the TLS files to use there."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

IPNetwork = IPv4Network | IPv6Network

WILDCARD = "*."


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files. ca: trusted instead of the public authorities. certificate, key: the client certificate."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


# Compared by identity, for speed: each attempt uses it in the keys of caches and connection pools.
@dataclass(frozen=True, slots=True, eq=False)
class Grant:
    """Applies if tenant, host, port and scheme all match. It allows only its networks, whatever the host resolves to.

    hosts: in CallbackUrl's form; `*.team-b.svc.cluster.local` matches every name below.
    """

    tenants: frozenset[str]
    hosts: frozenset[str]
    networks: tuple[IPNetwork, ...]
    ports: frozenset[int]
    schemes: frozenset[str]
    tls: TlsFiles | None = None

    def applies_to(self, *, tenant: str, scheme: str, host: str, port: int) -> bool:
        return (
            tenant in self.tenants
            and port in self.ports
            and scheme in self.schemes
            and (host in self.hosts or any(_matches_wildcard(host, name) for name in self.hosts))
        )


def _matches_wildcard(host: str, name: str) -> bool:
    return name.startswith(WILDCARD) and host.endswith(name[1:])
