"""A server that runs a script for each connection, so that it can violate HTTP."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress


class Peer:
    """A connection, with the operations that scripts use."""

    def __init__(self, sock: socket.socket, over: threading.Event) -> None:
        self.sock = sock
        self._over = over
        self._file = sock.makefile("rb")

    def request(self) -> bytes:
        """The next request, or b"" when the client has disconnected."""
        head = b""
        while (line := self._file.readline()) not in (b"\r\n", b""):
            head += line
        length = next((int(x[15:]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")), 0)
        return head + line + self._file.read(length)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes, pause: float = 0.02) -> None:
        """Sends `data` repeatedly until the client disconnects or the server closes."""
        while not self._over.wait(pause):
            self.send(data)

    def hang(self) -> None:
        self._over.wait()

    def close(self) -> None:
        self._file.close()
        self.sock.close()

    def leave(self) -> None:
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


Script = Callable[[Peer], None]


class ScriptedServer:
    """Runs the script for each connection, on its own thread."""

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        self._script = script
        self._context = context
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self._peers: list[Peer] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            sock, _ = self._socket.accept()
            if self._over.is_set():
                sock.close()
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError), sock:
            sock.settimeout(10)
            sock = self._context.wrap_socket(sock, server_side=True) if self._context else sock
            peer = Peer(sock, self._over)
            self._peers.append(peer)
            try:
                self._script(peer)
            finally:
                peer.close()

    def close(self) -> None:
        self._over.set()
        socket.create_connection(("127.0.0.1", self.port)).close()
        for peer in self._peers:
            peer.leave()
        for thread in self._threads:
            thread.join()
        self._socket.close()


@contextmanager
def serving() -> Iterator[Callable[..., ScriptedServer]]:
    """Yields a function that starts servers. They are closed at the end."""
    with ExitStack() as stack:

        def start(script: Script, context: ssl.SSLContext | None = None) -> ScriptedServer:
            server = ScriptedServer(script, context)
            stack.callback(server.close)
            return server

        yield start
