"""`Transport.stream`: answers without an end."""

from threading import Event

import pytest

from app.transport.unreachable import Unreachable, UnreachableKind
from tests.support.transport_calls import LONG, OK, SHORT

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_chunks_come_as_they_are_sent_and_the_thread_may_call_others_between_them(transport, serve):
    go_on = Event()

    def script(peer):
        if b"/stream" in peer.request():
            peer.send(HEAD + b"3\r\none\r\n")
            go_on.wait(8)
            peer.send(b"3\r\ntwo\r\n0\r\n\r\n")
        else:
            peer.send(OK)

    server = serve(script)
    with transport.stream(f"{server.url}/stream", headers={}, idle_timeout=LONG) as opened:
        assert opened.status == 200
        assert next(opened.chunks) == b"one"
        assert transport.send("POST", server.url, headers={}, body=b"x", deadline=SHORT).body == b"ok"
        go_on.set()
        assert list(opened.chunks) == [b"two"]


def test_it_may_last_for_longer_than_its_idle_timeout(transport, serve):
    def script(peer):
        peer.request()
        peer.send(HEAD)
        peer.drip(b"1\r\nx\r\n", pause=0.1)

    with transport.stream(serve(script).url, headers={}, idle_timeout=SHORT) as opened:
        assert b"".join(next(opened.chunks) for _ in range(15)).startswith(b"xxxxxxxx")


def test_no_data_for_too_long_is_a_timeout(transport, serve):
    def script(peer):
        peer.request()
        peer.send(HEAD + b"1\r\nx\r\n")
        peer.hang()

    with transport.stream(serve(script).url, headers={}, idle_timeout=SHORT) as opened:
        assert next(opened.chunks) == b"x"
        with pytest.raises(Unreachable, match=r"timed out after 1 s"):
            next(opened.chunks)


def test_one_that_is_cut_says_so(transport, serve):
    def script(peer):
        peer.request()
        peer.send(HEAD + b"5\r\nab")
        peer.leave()

    url = serve(script).url
    with transport.stream(url, headers={}, idle_timeout=LONG) as opened, pytest.raises(Unreachable) as caught:
        list(opened.chunks)
    assert caught.value.kind in (UnreachableKind.CLOSED, UnreachableKind.PROTOCOL)


def test_one_that_nobody_answers_is_unreachable(transport):
    with pytest.raises(Unreachable), transport.stream("http://127.0.0.1:9/", headers={}, idle_timeout=LONG):
        pass
