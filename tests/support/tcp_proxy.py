"""A way to a server that can be shut, silent or slow: for what happens when Redis is."""

import contextlib
import select
import socket
import time
from pathlib import Path
from threading import Thread
from typing import Self

from app.devkit.processes import wait_until

LOOK_S = 0.02
CHUNK = 65_536


class TcpProxy:
    """Listens on loopback, in front of a unix socket or a TCP port. mood: `open`, `refusing`, `silent` or `slow`."""

    def __init__(self, target: Path | tuple[str, int], slow_s: float = 0.3) -> None:
        self._target = target
        self._slow_s = slow_s
        self._open: set[socket.socket] = set()
        self._ended = False
        self._mood = "open"
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
    def mood(self) -> str:
        return self._mood

    @mood.setter
    def mood(self, mood: str) -> None:
        """Refusing: nobody listens, and whoever was connected is cut off in the middle of a word."""
        self._mood = mood
        if mood == "refusing":
            self._shut()
        elif self._listener is None:
            self._listen(self.port)

    def _listen(self, port: int) -> socket.socket:
        # The thread that accepts holds the listener before this one for a moment longer.
        listener = wait_until(lambda: _bound(port), what=f"port {port} is free again")
        listener.settimeout(LOOK_S)
        self._listener = listener
        return listener

    def _shut(self) -> None:
        listener, self._listener = self._listener, None
        if listener:
            listener.close()
        self.cut()

    def cut(self) -> None:
        """Off what is connected now."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._ended:
            listener = self._listener
            if listener is None:
                time.sleep(LOOK_S)
                continue
            with contextlib.suppress(OSError):
                client, _ = listener.accept()
                Thread(target=self._carry, args=[client], daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
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
            if self._mood == "silent":
                time.sleep(LOOK_S)
                continue
            for ready in select.select([client, server], [], [], LOOK_S)[0]:
                if self._mood == "slow" and ready is server:
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
