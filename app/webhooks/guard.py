"""The door to addresses that strangers name: what is connected to is what was checked."""

import socket
from collections.abc import Callable
from ipaddress import ip_address

from app.domain.address import AddressPolicy, refusal
from app.domain.errors import BridgeError
from app.transport.sockets import Address, TimeLeft, dial, resolve

Resolve = Callable[[str, int, TimeLeft], list[Address]]


class Refused(BridgeError):
    """Callbacks may not go there. Not an OSError, which the transport would take for a failure of the network."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Guard:
    """The transport's `connect`: one lookup, every answer judged, a connection to one of these answers."""

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        resolve: Resolve = resolve,
        dial: Callable[[list[Address], TimeLeft], socket.socket] = dial,
    ) -> None:
        self._policy = policy
        self._resolve = resolve
        self._dial = dial

    def __call__(self, scheme: str, host: str, port: int, left: TimeLeft) -> socket.socket:
        addresses = self._resolve(host, port, left)
        for _, (ip, *_) in addresses:
            if code := refusal(ip_address(ip), scheme=scheme, port=port, policy=self._policy):
                raise Refused(code)
        sock = self._dial(addresses, left)
        if sock.getpeername() not in [address for _, address in addresses]:
            sock.close()
            raise Refused("address_changed")
        return sock
