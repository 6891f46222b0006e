"""Connects to addresses given by callers, and only to the IP addresses that were checked."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from app.domain.address import AddressPolicy, AddressRefusal, IPAddress, leads_to, refusal
from app.domain.errors import BridgeError
from app.domain.grant import Grant
from app.transport.sockets import Address, Exchange, dial, resolve

Resolve = Callable[[str, int, Exchange], list[Address]]


class DestinationRefused(BridgeError):
    """Callbacks to this address are not allowed. Not an OSError: the transport treats those as network failures."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Guard:
    """The transport's `connect`: resolves the host once, checks every address, connects to one of them.

    Only equal guards share connections, so a tenant cannot reuse one that another tenant's grant allowed.
    """

    policy: AddressPolicy
    grants: tuple[Grant, ...] = ()
    resolve: Resolve = resolve
    dial: Callable[[list[Address], Exchange], socket.socket] = dial

    def __call__(self, scheme: str, host: str, port: int, call: Exchange) -> socket.socket:
        addresses = self.resolve(host, port, call)
        for _, (ip, *_) in addresses:
            self._check(ip_address(ip), scheme, port, call)
        sock = self.dial(addresses, call)
        if sock.getpeername() not in [address for _, address in addresses]:
            sock.close()
            raise DestinationRefused("address_changed")
        return sock

    def _check(self, ip: IPAddress, scheme: str, port: int, call: Exchange) -> None:
        code = refusal(ip, scheme=scheme, port=port, policy=self.policy, grants=self.grants)
        if code is None and self.policy.exempts(ip, self.grants) and leads_to(ip, self._denied(port, call)):
            code = AddressRefusal.HOST_DENIED
        if code:
            raise DestinationRefused(code)

    def _denied(self, port: int, call: Exchange) -> list[IPAddress]:
        """Returns the current addresses of denied hosts; they are resolved only before entering a private network."""
        hosts = [endpoint.host for endpoint in self.policy.denied if endpoint.port in (None, port)]
        return [ip_address(ip) for host in hosts for _, (ip, *_) in self._addresses(host, port, call)]

    def _addresses(self, host: str, port: int, call: Exchange) -> list[Address]:
        try:
            return self.resolve(host, port, call)
        except socket.gaierror as error:
            # The name has no address. Any other failure does not prove that, so the attempt is retried later.
            if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
                return []
            raise
