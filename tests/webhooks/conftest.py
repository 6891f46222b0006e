"""Subscribers' servers that send prepared bytes, one answer per connection."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest


class RawSubscriber:
    """Sends `answer` on each connection, then closes it. If `hangs`, it leaves the connection open."""

    def __init__(self, answer: bytes, *, hangs: bool = False) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._hangs = hangs
        self._closing = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/hooks/s3cret"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            sock, _ = self._socket.accept()
            with sock, suppress(OSError):
                if self._closing.is_set():
                    return
                self.requests.append(sock.recv(65536))
                sock.sendall(self._answer)
                if self._hangs:
                    self._closing.wait()

    def close(self) -> None:
        self._closing.set()
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._socket.close()


@pytest.fixture
def make_subscriber() -> Iterator[Callable[..., RawSubscriber]]:
    with ExitStack() as stack:

        def make(answer: bytes, *, hangs: bool = False) -> RawSubscriber:
            subscriber = RawSubscriber(answer, hangs=hangs)
            stack.callback(subscriber.close)
            return subscriber

        yield make
