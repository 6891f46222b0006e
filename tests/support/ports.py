"""Ports for servers that must be told theirs."""

import secrets
import socket
from contextlib import suppress

# Below the ports of outgoing connections: one of those could take the port before the server does.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Returns a port of 127.0.0.1 on which nobody listens."""
    while True:
        port = secrets.choice(PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
