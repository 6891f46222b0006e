"""Name lookups and connections end with the deadline of their call."""

import socket
from contextlib import ExitStack, suppress
from threading import Thread
from time import monotonic

import pytest

from app.transport.client import PUBLIC
from app.transport.sockets import (
    LOOKUPS_AT_ONCE,
    Exchange,
    Lookups,
    PlainSocket,
    connect_anywhere,
    current,
    dial,
    lookups,
    resolve,
)


def exchange(seconds=5.0):
    return Exchange(monotonic() + seconds, 1, connect_anywhere, PUBLIC)


def test_an_address_that_is_dead_falls_through_to_the_next(serve):
    server = serve(lambda peer: peer.hang())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = listener.getsockname()
    addresses = [(socket.AF_INET, dead), (socket.AF_INET, ("127.0.0.1", server.port))]
    with dial(addresses, exchange()) as sock:
        assert sock.getpeername() == ("127.0.0.1", server.port)


def test_a_name_is_looked_up_within_the_time_left():
    expired = exchange(-1)
    assert resolve("127.0.0.1", 80, expired) == [(socket.AF_INET, ("127.0.0.1", 80))]
    with pytest.raises(TimeoutError):
        resolve("localhost", 80, expired)


def test_a_lookup_for_which_there_is_no_time_left_is_left_behind():
    class ExpiringExchange(Exchange):
        """Has time left at the first call of `left`, and none at the second."""

        calls = 0

        def left(self):
            self.calls += 1
            if self.calls > 1:
                raise TimeoutError
            return 1.0

    with pytest.raises(TimeoutError):
        resolve("localhost", 80, ExpiringExchange(0, 1, connect_anywhere, PUBLIC))


def test_no_tenant_takes_more_than_half_of_the_lookups_that_others_leave():
    lookups = Lookups(8)
    for _ in range(4):
        lookups.begin("hostile", 0)
    with pytest.raises(TimeoutError):
        lookups.begin("hostile", 0.01)
    lookups.begin("other", 0)
    lookups.begin("other", 0)
    with pytest.raises(TimeoutError):
        lookups.begin("other", 0)
    lookups.begin("third", 0)
    lookups.end("hostile")
    lookups.end("hostile")
    lookups.begin("other", 0)


def test_a_lookup_waits_for_its_turn_no_longer_than_the_deadline():
    with ExitStack() as stack:
        for _ in range(LOOKUPS_AT_ONCE // 2):
            lookups.begin("", 0)
            stack.callback(lookups.end, "")
        with pytest.raises(TimeoutError):
            resolve("localhost", 80, exchange(0.01))


def test_a_call_whose_deadline_has_passed_has_no_time_left():
    with pytest.raises(TimeoutError):
        exchange(0).left()


def test_nothing_is_sent_after_the_deadline():
    ours, theirs = socket.socketpair()
    with PlainSocket(fileno=ours.detach()) as sock, theirs:
        current.call = exchange()
        sock.sendall(memoryview(b"in time"))
        assert theirs.recv(100) == b"in time"
        current.call = exchange(0)
        with pytest.raises(TimeoutError):
            sock.sendall(b"late")
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(100)


def test_everything_is_sent_although_the_buffer_is_full_at_first():
    ours, theirs = socket.socketpair()
    current.call = exchange()
    received = bytearray()

    def read_all() -> None:
        while chunk := theirs.recv(65_536):
            received.extend(chunk)

    reader = Thread(target=read_all)

    class ReadWhenFull(PlainSocket):
        def renew_timeout(self, call: Exchange) -> None:
            reader.start()
            super().renew_timeout(call)

    with ReadWhenFull(fileno=ours.detach()) as sock, theirs:
        sock.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                sock.send(bytes(65_536))
        sock.sendall(b"0123456789")
        sock.shutdown(socket.SHUT_WR)
        reader.join()
    assert received.endswith(b"\x000123456789")


def test_writing_to_a_closed_connection_says_so():
    ours, theirs = socket.socketpair()
    current.call = exchange()
    with PlainSocket(fileno=ours.detach()) as sock:
        theirs.close()
        with pytest.raises(BrokenPipeError, match="Broken pipe"):
            sock.sendall(b"x")
