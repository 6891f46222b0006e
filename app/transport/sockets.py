"""Sockets of one call: an absolute deadline over everything, a budget for what is received."""

import os
import socket
import ssl
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from app.domain.grant import TlsFiles
from app.transport.stopwatch import Stopwatch

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

LOOKUPS_AT_ONCE = 32
TIMEOUT_STEP_S = 0.05

Address = tuple[socket.AddressFamily, tuple[Any, ...]]  # what a socket of this family connects to: host, port, …


class Overrun(OSError):
    """The answer is longer than the call allows."""


class Connect(Protocol):
    """Opens the TCP connection. An OSError may heal; whatever else it raises reaches the caller of `send` as it is.

    Calls share kept-alive connections if what opens theirs is equal.
    """

    def __call__(self, scheme: str, host: str, port: int, call: "Exchange") -> socket.socket: ...


@dataclass(slots=True)
class Exchange:
    """What one call may still use, and how it gets to its host. It runs in one thread from end to end."""

    until: float  # by the monotonic clock
    budget: int  # bytes
    connect: Connect
    tls: TlsFiles
    watch: Stopwatch = field(default_factory=Stopwatch)
    fresh: bool = False  # kept-alive connections are not to be used
    connected: bool = False  # it has opened a connection, rather than used a kept-alive one
    received: int = 0
    max_bytes: int | None = 64 * 1024  # of the body; None if it is to be read as it comes

    @property
    def stale(self) -> bool:
        """A kept-alive connection was used, and brought nothing."""
        return not self.connected and not self.received

    def left(self) -> float:
        """In seconds; TimeoutError when there is none."""
        left = self.until - monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def count(self, size: int) -> None:
        if not self.received:
            self.watch.first_byte = monotonic()
        self.received += size
        if self.received > self.budget:
            raise Overrun


class _Current(threading.local):
    call: Exchange


# Kept-alive sockets outlive calls and change threads; the thread that uses one brings its call along.
current = _Current()


class PlainSocket(socket.socket):
    def renew_timeout(self, call: Exchange) -> None:
        """To what is left; a change that does not matter is not worth a system call."""
        left, known = call.left(), self.gettimeout()
        if not known or abs(left - known) > TIMEOUT_STEP_S:
            self.settimeout(left)

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0) -> int:
        call = current.call
        self.renew_timeout(call)
        size = super().recv_into(buffer, nbytes or 0, flags)
        call.count(size)
        return size

    def sendall(self, data: "ReadableBuffer", flags: int = 0) -> None:
        """Nothing that takes time lies between the look at the clock and the first byte. Python's own first asks for
        room, and then may wait for other threads: a process that stood still there would send too late.
        """
        call = current.call
        call.left()
        try:
            sent = os.write(self.fileno(), data)
        except BlockingIOError:
            sent = 0
        if rest := memoryview(data)[sent:]:
            self.renew_timeout(call)
            super().sendall(rest, flags)


class TLSSocket(PlainSocket, ssl.SSLSocket):
    def sendall(self, data: "ReadableBuffer", flags: int = 0) -> None:
        ssl.SSLSocket.sendall(self, data, flags)  # many sends

    def send(self, data: "ReadableBuffer", flags: int = 0) -> int:
        self.settimeout(0)  # as above
        current.call.left()
        with suppress(ssl.SSLWantWriteError):
            return super().send(data, flags)
        self.renew_timeout(current.call)
        return super().send(data, flags)


def connect_anywhere(scheme: str, host: str, port: int, call: Exchange) -> socket.socket:  # noqa: ARG001
    return dial(resolve(host, port, call), call)


lookups = threading.BoundedSemaphore(LOOKUPS_AT_ONCE)


def resolve(host: str, port: int, call: Exchange) -> list[Address]:
    """Every address of a name, in the system's order. gaierror when it has none, TimeoutError when time is up."""
    try:
        return _look_up(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    if not lookups.acquire(timeout=call.left()):
        raise TimeoutError
    found: Future[list[Address]] = Future()
    # getaddrinfo has no timeout of its own: it runs on a thread that may be left behind.
    threading.Thread(target=_fulfil, args=(found, host, port), daemon=True).start()
    return found.result(call.left())


def _fulfil(found: Future[list[Address]], host: str, port: int) -> None:
    try:
        found.set_result(_look_up(host, port, 0))
    except OSError as error:
        found.set_exception(error)
    finally:
        lookups.release()


def _look_up(host: str, port: int, flags: int) -> list[Address]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in answers]


def dial(addresses: list[Address], call: Exchange) -> socket.socket:
    """A connection to the first of them that is alive; each may use an even share of the time left."""
    call.watch.looked_up = call.watch.looked_up or monotonic()
    first, *others = addresses
    try:
        sock = _dial(*first, call.left() / len(addresses))
    except OSError:
        if not others:
            raise
        return dial(others, call)
    call.watch.connected = monotonic()
    return sock


def _dial(family: socket.AddressFamily, address: tuple[Any, ...], timeout: float) -> socket.socket:
    sock = PlainSocket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(timeout)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
