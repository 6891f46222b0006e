"""A TCP proxy: delays, cuts, halves, splits, or swallows one direction, for some callers or for all."""

import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock, Thread

HOST = "127.0.0.1"
CHUNK = 65_536
HOLD_S = 0.05


@dataclass(frozen=True, slots=True)
class Way:
    """How bytes of one direction travel.

    delay_s: before each chunk. split: forwards so many bytes at a time. cut: the chance that a chunk is lost with its
    connection. halve: the chance that only the first half of a chunk arrives before the connection closes. held:
    nothing moves, nothing is lost. swallowed: bytes vanish. refuse: new connections are closed at once.
    """

    delay_s: float = 0.0
    split: int = 0
    cut: float = 0.0
    halve: float = 0.0
    held: bool = False
    swallowed: bool = False
    refuse: bool = False


CALM = Way()


class Proxy:
    """Listens on loopback. there: what clients send; back: what the server sends. blocked: callers' addresses whose
    bytes are held in both directions."""

    def __init__(self, target: tuple[str, int], seed: int = 0) -> None:
        self.target = target
        self.there, self.back = CALM, CALM
        self.blocked: Callable[[str], bool] = lambda _: False
        self._random = random.Random(seed)
        self._lock = Lock()
        self._open: set[socket.socket] = set()
        self._ended = False
        self._listener = socket.create_server((HOST, 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def calm(self) -> None:
        self.there = self.back = CALM
        self.blocked = lambda _: False

    def cut_all(self) -> None:
        """Closes all open connections."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._ended = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def _accept(self) -> None:
        while not self._ended:
            with suppress(OSError):
                client, (address, _) = self._listener.accept()
                Thread(target=self._join, args=[client, address], daemon=True).start()

    def _join(self, client: socket.socket, address: str) -> None:
        with client, suppress(OSError):
            if self.there.refuse:
                return
            while self.blocked(address) and not self._ended:
                time.sleep(HOLD_S)
            with socket.create_connection(self.target, 5) as server:
                server.settimeout(None)
                for connection in (client, server):
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._open |= {client, server}
                back = Thread(target=self._pump, args=[server, client, address, False], daemon=True)
                back.start()
                self._pump(client, server, address, True)
                back.join()
                with self._lock:
                    self._open -= {client, server}

    def _pump(self, source: socket.socket, sink: socket.socket, address: str, there: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK):
                while (self._way(there).held or self.blocked(address)) and not self._ended:
                    time.sleep(HOLD_S)
                if not self._forward(chunk, sink, self._way(there)):
                    break
        for connection in (source, sink):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _way(self, there: bool) -> Way:
        return self.there if there else self.back

    def _forward(self, chunk: bytes, sink: socket.socket, way: Way) -> bool:
        """Returns False if the connection is to be closed."""
        if way.delay_s:
            time.sleep(way.delay_s)
        if way.swallowed:
            return True
        if way.cut and self._random.random() < way.cut:
            return False
        if way.halve and self._random.random() < way.halve:
            sink.sendall(chunk[: len(chunk) // 2])
            return False
        for start in range(0, len(chunk), way.split or len(chunk)):
            sink.sendall(chunk[start : start + (way.split or len(chunk))])
            if way.split:
                time.sleep(0.001)
        return True
