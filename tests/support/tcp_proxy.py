"""A TCP proxy that can refuse connections, stop forwarding, or be slow."""

import contextlib
import select
import socket
import time
from pathlib import Path
from threading import Thread
from typing import Self

from app.devkit.processes import wait_until

POLL_INTERVAL_S = 0.02
CHUNK = 65_536


class TcpProxy:
    """Listens on loopback, in front of a unix socket or a TCP port. mode: `open`, `refusing`, `silent` or `slow`."""

    def __init__(self, target: Path | tuple[str, int], slow_s: float = 0.3) -> None:
        self._target = target
        self._slow_s = slow_s
        self._open: set[socket.socket] = set()
        self._ended = False
        self._mode = "open"
        self._listener: socket.socket | None = None
        first = self._listen(0)
        self.port: int = first.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._shut()

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        """`refusing` closes the listener and all open connections."""
        self._mode = mode
        if mode == "refusing":
            self._shut()
        elif self._listener is None:
            self._listen(self.port)

    def _listen(self, port: int) -> socket.socket:
        # The accepting thread may still use the previous listener for a moment.
        listener = wait_until(lambda: _bound(port), what=f"port {port} is free again")
        listener.settimeout(POLL_INTERVAL_S)
        self._listener = listener
        return listener

    def _shut(self) -> None:
        listener, self._listener = self._listener, None
        if listener:
            listener.close()
        self.cut()

    def cut(self) -> None:
        """Closes all open connections."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._ended:
            listener = self._listener
            if listener is None:
                time.sleep(POLL_INTERVAL_S)
                continue
            with contextlib.suppress(OSError):
                client, _ = listener.accept()
                Thread(target=self._forward, args=[client], daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, self._server() as server, contextlib.suppress(OSError):
            self._open |= {client, server}
            server.connect(str(self._target) if isinstance(self._target, Path) else self._target)
            try:
                self._pump(client, server)
            finally:
                self._open -= {client, server}

    def _server(self) -> socket.socket:
        return socket.socket(socket.AF_UNIX if isinstance(self._target, Path) else socket.AF_INET)

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        while not self._ended:
            if self._mode == "silent":
                time.sleep(POLL_INTERVAL_S)
                continue
            for ready in select.select([client, server], [], [], POLL_INTERVAL_S)[0]:
                if self._mode == "slow" and ready is server:
                    time.sleep(self._slow_s)
                chunk = ready.recv(CHUNK)
                if not chunk:
                    return
                other[ready].sendall(chunk)


def _bound(port: int) -> socket.socket | None:
    try:
        return socket.create_server(("127.0.0.1", port), backlog=64)
    except OSError:
        return None
