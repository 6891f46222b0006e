"""A TCP proxy that cuts what runs through it, and can be away for a while."""

import socket
import threading
from contextlib import suppress
from typing import Self

CHUNK = 64 * 1024


class CuttingProxy:
    """In front of one server. connections: how many there were so far."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self.connections = 0
        self._running: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._away = False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Every connection that there is."""
        with self._lock:
            for each in self._running:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        """As a server that is being restarted: what runs is cut, what comes is cut at once."""
        self._away = True
        self.cut()

    def come_back(self) -> None:
        self._away = False

    def _accept(self) -> None:
        while True:
            try:
                incoming, _ = self._listener.accept()
            except OSError:
                return
            if self._away:
                incoming.close()
                continue
            self.connections += 1
            outgoing = socket.create_connection(self._target)
            with self._lock:
                self._running |= {incoming, outgoing}
            for source, sink in ((incoming, outgoing), (outgoing, incoming)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK):
                sink.sendall(chunk)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._running.discard(source)
        source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._thread.join()
