"""A subscriber's server that sends prepared bytes, one answer a connection."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest


class RawSubscriber:
    """Sends `answer` for what arrives on a connection; then closes, or hangs if told so."""

    def __init__(self, answer: bytes, *, hangs: bool = False) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._hangs = hangs
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/hooks/s3cret"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            sock, _ = self._socket.accept()
            with sock, suppress(OSError):
                if self._over.is_set():
                    return
                self.requests.append(sock.recv(65536))
                sock.sendall(self._answer)
                if self._hangs:
                    self._over.wait()

    def close(self) -> None:
        self._over.set()
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._socket.close()


@pytest.fixture
def subscribe() -> Iterator[Callable[..., RawSubscriber]]:
    with ExitStack() as stack:

        def start(answer: bytes, *, hangs: bool = False) -> RawSubscriber:
            subscriber = RawSubscriber(answer, hangs=hangs)
            stack.callback(subscriber.close)
            return subscriber

        yield start
