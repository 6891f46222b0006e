"""Opens the listening sockets of the API, its probes and its metrics, all in the same way."""

import errno
import os
import socket
from pathlib import Path

from app.domain.errors import OperatorError

MAX_PORT = 65_535
BACKLOG = 2_048  # connections that wait to be accepted; gunicorn's default
ALL_ADDRESSES = ("", "*")
REMEDIES = {
    errno.EADDRINUSE: "; something listens there already: end it, or choose another port",
    errno.EADDRNOTAVAIL: "; it is no address of this machine",
    errno.EACCES: "; choose a port from 1024 up",
    errno.EAFNOSUPPORT: "; this machine has no IPv6: use 0.0.0.0",
}


def listen(setting: str, bind: str) -> socket.socket:
    """Opens a listening socket. Call it before forking: the kernel then distributes connections among the processes.

    bind: host:port. `[::]` takes IPv4 too; without a host, or with `*`, the socket takes whatever the machine has.
    setting: its name, for the OperatorError.
    """
    host, colon, port = bind.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isdecimal() or int(port) > MAX_PORT or ("[" in host and not bracketed):
        raise OperatorError(f"{setting}: {bind!r} is not host:port, such as 0.0.0.0:8080 or [::]:8080")
    try:
        listener = _listen(host[1:-1] if bracketed else host, int(port))
    except UnicodeError:  # a label of the name is empty or too long
        raise OperatorError(f"{setting}: {bind!r} is not host:port, such as 0.0.0.0:8080 or [::]:8080") from None
    except OSError as error:
        raise OperatorError(f"{setting}: cannot listen on {bind}: {_describe(error)}") from error
    # One connection may wake several processes. Those that do not get it must not block until the next one.
    listener.setblocking(False)
    return listener


def listen_on_unix_socket(setting: str, path: Path) -> socket.socket:
    """Replaces the socket of a process that has ended. Whoever may enter the folder may connect."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        if path.is_socket():
            _remove_unused(path)
        listener.bind(str(path))
        path.chmod(0o777)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise OperatorError(f"{setting}: cannot listen on {path}: {_describe(error)}") from error
    return listener


def inherited(setting: str, descriptor: str) -> socket.socket:
    """Returns the listening socket that this process was started with."""
    try:
        return socket.socket(fileno=int(descriptor))
    except (ValueError, OSError) as error:
        raise OperatorError(f"{setting}: fd://{descriptor} is no listening socket") from error


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    if host in ALL_ADDRESSES:
        host = "::" if both else "0.0.0.0"  # noqa: S104 as the operator asks
    families = {found[0] for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    if socket.AF_INET in families:
        return socket.create_server((host, port), backlog=BACKLOG)
    return socket.create_server((host, port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=both)


def _remove_unused(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(errno.EADDRINUSE, "in use")


def _describe(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno is None:
        return str(error.strerror or error)
    return os.strerror(error.errno) + REMEDIES.get(error.errno, "")
