"""What the operator grants: ways to addresses that are shut to all others, and what TLS needs there."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

IPNetwork = IPv4Network | IPv6Network

ANY_BELOW = "*."


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files. ca: trusted instead of the public authorities. certificate, key: shown to the server."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


# By identity: it is a part of what caches and connections are told apart by, at each attempt.
@dataclass(frozen=True, slots=True, eq=False)
class Grant:
    """Holds if tenant, host, port and scheme all match; opens nothing but its networks, whatever the host leads to.

    hosts: as CallbackUrl has them; `*.team-b.svc.cluster.local` is every name below.
    """

    tenants: frozenset[str]
    hosts: frozenset[str]
    networks: tuple[IPNetwork, ...]
    ports: frozenset[int]
    schemes: frozenset[str]
    tls: TlsFiles | None = None

    def holds_for(self, *, tenant: str, scheme: str, host: str, port: int) -> bool:
        return (
            tenant in self.tenants
            and port in self.ports
            and scheme in self.schemes
            and (host in self.hosts or any(_is_below(host, name) for name in self.hosts))
        )


def _is_below(host: str, name: str) -> bool:
    return name.startswith(ANY_BELOW) and host.endswith(name[1:])
