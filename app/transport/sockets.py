"""Sockets that enforce a call's absolute deadline and its limit on received bytes."""

import ctypes
import os
import socket
import ssl
import threading
from collections import Counter
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from app.domain.grant import TlsFiles
from app.transport.stopwatch import Stopwatch

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

LOOKUPS_AT_ONCE = 256  # each in a thread of its own
TIMEOUT_STEP_S = 0.05
WITHOUT_WAITING = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)  # macOS lacks the second

Address = tuple[socket.AddressFamily, tuple[Any, ...]]  # the second part is the family's own: host, port, …


# PyDLL keeps the interpreter lock during a call.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.send.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
_libc.send.restype = ctypes.c_ssize_t


class Overrun(OSError):
    """The answer exceeds the call's byte limit."""


class Connect(Protocol):
    """Opens the TCP connection. An OSError may be temporary and becomes Unreachable; `send` raises others unchanged.

    Calls share kept-alive connections only if their Connect values are equal.
    """

    def __call__(self, scheme: str, host: str, port: int, call: "Exchange") -> socket.socket: ...


@dataclass(slots=True)
class Exchange:
    """Limits and progress of one call. Used by one thread only."""

    until: float  # deadline, in seconds of the monotonic clock
    budget: int  # bytes
    connect: Connect
    tls: TlsFiles
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    fresh: bool = False  # must not use a kept-alive connection
    connected: bool = False  # has opened a connection instead of using a kept-alive one
    received: int = 0
    max_bytes: int | None = 64 * 1024  # of the body; None if the body is streamed
    tenant: str = ""  # on whose behalf the call is made; "" on our own

    @property
    def stale(self) -> bool:
        """Whether a kept-alive connection was used and nothing was received."""
        return not self.connected and not self.received

    def left(self) -> float:
        """Returns the remaining time in seconds. Raises TimeoutError if there is none."""
        left = self.until - monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def count(self, size: int) -> None:
        """Adds received bytes. Raises Overrun above the limit."""
        if not self.received:
            self.stopwatch.first_byte = monotonic()
        self.received += size
        if self.received > self.budget:
            raise Overrun


class _Current(threading.local):
    call: Exchange


# Kept-alive sockets outlive calls and change threads, so a socket finds the current call by its thread.
current = _Current()


def _send_before(until: float, descriptor: int, data: bytes) -> int:
    """Sends as many bytes as the socket takes without waiting, and returns their number.

    Raises TimeoutError after `until`, BlockingIOError if the socket takes none, OSError if the connection is closed.

    No other thread runs between the clock and the write, because waiting for the interpreter lock takes milliseconds on
    a busy machine, and the process may be suspended meanwhile. A `for` statement reads the clock, as Python may switch
    threads after a call expression; os.write and socket.send would release the lock before they write.
    """
    size = len(data)
    for now in iter(monotonic, None):
        if now >= until:
            raise TimeoutError
        sent: int = _libc.send(descriptor, data, size, WITHOUT_WAITING)
        break
    if sent < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return sent


class PlainSocket(socket.socket):
    def renew_timeout(self, call: Exchange) -> None:
        """Sets the timeout to the remaining time, unless the change is too small to be worth a system call."""
        left, timeout = call.left(), self.gettimeout()
        if not timeout or abs(left - timeout) > TIMEOUT_STEP_S:
            self.settimeout(left)

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0) -> int:
        call = current.call
        self.renew_timeout(call)
        size = super().recv_into(buffer, nbytes or 0, flags)
        call.count(size)
        return size

    def sendall(self, data: "ReadableBuffer", flags: int = 0) -> None:
        """Sends nothing after the deadline, unless the process was suspended between the clock and the write."""
        call = current.call
        try:
            sent = _send_before(call.until, self.fileno(), bytes(data))
        except BlockingIOError:
            sent = 0
        if rest := memoryview(data)[sent:]:
            self.renew_timeout(call)
            super().sendall(rest, flags)


class TLSSocket(PlainSocket, ssl.SSLSocket):
    def sendall(self, data: "ReadableBuffer", flags: int = 0) -> None:
        ssl.SSLSocket.sendall(self, data, flags)  # calls `send` below

    def send(self, data: "ReadableBuffer", flags: int = 0) -> int:
        # Otherwise ssl waits for buffer space between the clock and the write. OpenSSL still writes without the
        # interpreter lock, so the gap of `_send_before` is milliseconds here on a busy machine.
        self.settimeout(0)
        with suppress(ssl.SSLWantWriteError):
            current.call.left()
            return super().send(data, flags)
        self.renew_timeout(current.call)
        return super().send(data, flags)


def connect_anywhere(scheme: str, host: str, port: int, call: Exchange) -> socket.socket:  # noqa: ARG001
    return dial(resolve(host, port, call), call)


class Lookups:
    """Limits lookups at once. A tenant gets at most half of those that the others leave: one may hang for minutes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._running: Counter[str] = Counter()  # by tenant
        self._changed = threading.Condition()

    def begin(self, tenant: str, timeout: float) -> None:
        """Waits for a turn. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(tenant), timeout):
                raise TimeoutError
            self._running[tenant] += 1

    def end(self, tenant: str) -> None:
        with self._changed:
            self._running -= Counter([tenant])
            self._changed.notify_all()

    def _has_room(self, tenant: str) -> bool:
        return self._running[tenant] < self._size - self._running.total()


lookups = Lookups(LOOKUPS_AT_ONCE)


def resolve(host: str, port: int, call: Exchange) -> list[Address]:
    """Returns all addresses of a name, in the system's order. Raises gaierror if there are none, and TimeoutError."""
    try:
        return _look_up(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    lookups.begin(call.tenant, call.left())
    addresses: Future[list[Address]] = Future()
    # getaddrinfo has no timeout, so it runs in a thread that may outlive the call.
    threading.Thread(target=_fulfil, args=(addresses, host, port, call.tenant), daemon=True).start()
    return addresses.result(call.left())


def _fulfil(addresses: Future[list[Address]], host: str, port: int, tenant: str) -> None:
    try:
        addresses.set_result(_look_up(host, port, 0))
    except OSError as error:
        addresses.set_exception(error)
    finally:
        lookups.end(tenant)


def _look_up(host: str, port: int, flags: int) -> list[Address]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in answers]


def dial(addresses: list[Address], call: Exchange) -> socket.socket:
    """Connects to the first reachable address. Each may take an equal share of the remaining time."""
    call.stopwatch.looked_up = call.stopwatch.looked_up or monotonic()
    first, *others = addresses
    try:
        sock = _dial(*first, call.left() / len(addresses))
    except OSError:
        if not others:
            raise
        return dial(others, call)
    call.stopwatch.connected = monotonic()
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
