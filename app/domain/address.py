"""Rules for the addresses that callbacks may reach."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from app.domain.grant import Grant, IPNetwork

IPAddress = IPv4Address | IPv6Address
LOOPBACK = IPv4Address("127.0.0.1")

# Cloud credential services: AWS, GCP, OpenStack, Azure, Huawei; AWS ECS; Oracle; Azure's wire server; Alibaba.
METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",
        "192.0.0.192",
        "168.63.129.16",
        "100.100.100.200",
        "fd00:ec2::254",
        "fd20:ce::254",
    )
)
PRIVATE = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
        "fe80::/10",
    )
)
# Special-purpose in the IANA registry, but `is_global` in some of the Python versions that we support.
RESERVED = tuple(
    ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "2001::/23", "3fff::/20")
)
GLOBAL_UNICAST = ip_network("2000::/3")
NAT64 = ip_network("64:ff9b::/96")
# Networks with an IPv4 address in the last 32 bits: compatible, mapped, NAT64, NAT64 for local use.
IPV4_IN_LAST_32_BITS = (ip_network("::/96"), ip_network("::ffff:0:0/96"), NAT64, ip_network("64:ff9b:1::/48"))


class AddressRefusal(StrEnum):
    """Refusal codes. Subscribers see them, so they must not change."""

    ADDRESS_LOOPBACK = "address_loopback"
    ADDRESS_METADATA = "address_metadata"
    ADDRESS_PRIVATE = "address_private"
    ADDRESS_RESERVED = "address_reserved"
    HOST_DENIED = "host_denied"
    PORT_NOT_ALLOWED = "port_not_allowed"
    SCHEME_NOT_ALLOWED = "scheme_not_allowed"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """host: a name or an address, in lower case. port: None matches every port."""

    host: str
    port: int | None = None

    def matches(self, host: str, port: int) -> bool:
        return self.host == host and self.port in (None, port)


# Compared by identity, for the same reason as Grant.
@dataclass(frozen=True, slots=True, eq=False)
class AddressPolicy:
    """The operator's rules for callback addresses. allow_http, allow_ports: for public addresses.

    allow_networks: private networks that callbacks may reach, with http and on any port too. Loopback needs a network
    that lies entirely in loopback.
    denied: endpoints that the bridge itself depends on; never called, whatever else is allowed.
    """

    allow_http: bool
    allow_ports: frozenset[int]
    allow_networks: tuple[IPNetwork, ...]
    grants: tuple[Grant, ...] = ()
    denied: tuple[Endpoint, ...] = ()

    def grants_for(self, *, tenant: str, scheme: str, host: str, port: int) -> tuple[Grant, ...]:
        return tuple(
            grant for grant in self.grants if grant.applies_to(tenant=tenant, scheme=scheme, host=host, port=port)
        )

    def denies(self, host: str, port: int) -> bool:
        return any(endpoint.matches(host, port) for endpoint in self.denied)

    def exempts(self, ip: IPAddress, grants: Sequence[Grant] = ()) -> bool:
        """Returns True if `allow_networks` or a grant exempts the address from the rules for public addresses."""
        if _is_loopback(ip):
            return any(ip in network for network in self.allow_networks if network.is_loopback)
        return any(ip in network for network in self.allow_networks) or any(
            ip in network for grant in grants for network in grant.networks
        )


def refusal(
    ip: IPAddress, *, scheme: str, port: int, policy: AddressPolicy, grants: Sequence[Grant] = ()
) -> AddressRefusal | None:
    """Returns why a callback may not go there, None if it may. grants: those that apply to the callback."""
    targets = _targets(ip)
    if any(target in METADATA for target in targets):
        return AddressRefusal.ADDRESS_METADATA
    if port == 0:
        return AddressRefusal.PORT_NOT_ALLOWED
    if all(policy.exempts(target, grants) for target in targets):
        return None
    for target in reversed(targets):
        if special := _special_purpose(target):
            return special
    return endpoint_refusal(scheme, port, policy)


def leads_to(ip: IPAddress, others: Collection[IPAddress]) -> bool:
    """Returns True if a packet to this address may reach one of the others. All loopback addresses count as one."""
    reached = {_merge_loopback(target) for other in others for target in _targets(other)}
    return any(_merge_loopback(target) in reached for target in _targets(ip))


def endpoint_refusal(scheme: str, port: int, policy: AddressPolicy) -> AddressRefusal | None:
    """Applies the rules that public addresses and host names share."""
    if scheme != "https" and not policy.allow_http:
        return AddressRefusal.SCHEME_NOT_ALLOWED
    if port not in policy.allow_ports:
        return AddressRefusal.PORT_NOT_ALLOWED
    return None


def _targets(ip: IPAddress) -> list[IPAddress]:
    """Returns every address that a packet to this one may reach: itself without its zone, and the embedded ones."""
    bare = type(ip)(int(ip))
    return [bare, *_embedded(bare)]


def _embedded(ip: IPAddress) -> Iterator[IPv4Address]:
    if isinstance(ip, IPv4Address) or _is_loopback(ip):
        return
    if any(ip in network for network in IPV4_IN_LAST_32_BITS) or _is_isatap(ip):
        yield IPv4Address(int(ip) & 0xFFFF_FFFF)
    if ip.sixtofour:
        yield ip.sixtofour
    yield from ip.teredo or ()


def _is_isatap(ip: IPv6Address) -> bool:
    """RFC 5214: the interface identifier begins with 0000:5efe or 0200:5efe."""
    return int(ip) >> 32 & 0xFDFF_FFFF == 0x5EFE


def _is_loopback(ip: IPAddress) -> bool:
    # A connection to 0.0.0.0 or :: reaches the local machine.
    return ip.is_loopback or ip.is_unspecified


def _merge_loopback(ip: IPAddress) -> IPAddress:
    return LOOPBACK if _is_loopback(ip) else ip


def _special_purpose(ip: IPAddress) -> AddressRefusal | None:
    if _is_loopback(ip):
        return AddressRefusal.ADDRESS_LOOPBACK
    if any(ip in network for network in PRIVATE):
        return AddressRefusal.ADDRESS_PRIVATE
    return None if _is_public(ip) else AddressRefusal.ADDRESS_RESERVED


def _is_public(ip: IPAddress) -> bool:
    if ip in NAT64:
        return True  # the embedded IPv4 address decides, and is checked separately
    if not ip.is_global or any(ip in network for network in RESERVED):
        return False
    return isinstance(ip, IPv4Address) or (ip in GLOBAL_UNICAST and not any(_embedded(ip)))
