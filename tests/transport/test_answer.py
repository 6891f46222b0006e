"""Parsing HTTP answers: which are valid, where the body ends, and whether the connection is used again."""

import pytest

from app.transport.unreachable import UnreachableKind
from tests.support.transport_calls import OK, answering, get, unreachable


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", id="many headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", id="a long header"),
        pytest.param(b"HTTP/2.0 200 OK\r\n\r\n", id="another version"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", id="two lengths"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, id="only 100 Continue"),
    ],
)
def test_an_answer_that_is_not_http_is_none(transport, serve, answer):
    assert unreachable(transport, serve(answering(answer)).url).kind is UnreachableKind.PROTOCOL


@pytest.mark.parametrize("length", [b"9" * 5_000, b"-1", b"1_0", "٣".encode(), b"+1"])
def test_a_length_that_is_none_leaves_the_body_to_end_with_the_connection(transport, serve, length):
    server = serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\nall"))
    reply = get(transport, server.url)
    assert (reply.body, reply.truncated) == (b"all", False)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (b"X: a\r\n  b\r\n\tc\r\n", {"x": "a b c"}),
        (b"X: a\r\nx:b\r\n", {"x": "a, b"}),
        (b"X:\r\n", {"x": ""}),
        (b"X: a: b\r\n", {"x": "a: b"}),
    ],
    ids=["folded", "twice", "empty", "with a colon"],
)
def test_headers_are_read_as_the_standard_says(transport, serve, headers, expected):
    server = serve(answering(b"HTTP/1.1 204 No\r\n" + headers + b"\r\n", OK))
    assert get(transport, server.url).headers == expected
    assert get(transport, server.url).body == b"ok"
    assert server.connections == 1


@pytest.mark.parametrize("line", [b"no header", b": nameless", b"Content-Length : 5", b" folded onto nothing"])
def test_behind_a_line_that_is_no_header_nothing_more_is_looked_for(transport, serve, line):
    server = serve(answering(b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 2\r\n\r\nok", OK))
    assert get(transport, server.url).body == b"ok"
    get(transport, server.url)
    assert server.connections == 2


def test_chunks_may_come_behind_other_encodings(transport, serve):
    chunks = b"2\r\nok\r\n0\r\nTrailer: x\r\n\r\n"
    server = serve(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n" + chunks, OK))
    assert get(transport, server.url).body == b"ok"
    get(transport, server.url)
    assert server.connections == 1


@pytest.mark.parametrize("keep_alive", [True, False])
def test_an_old_server_is_taken_at_its_word_about_the_connection(transport, serve, keep_alive):
    header = b"Connection: keep-alive\r\n" if keep_alive else b""
    server = serve(answering(b"HTTP/1.0 200 OK\r\n" + header + b"Content-Length: 2\r\n\r\nok", OK))
    for _ in range(2):
        assert get(transport, server.url).body == b"ok"
    assert server.connections == (1 if keep_alive else 2)


def test_early_hints_are_no_answer(transport, serve):
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    reply = get(transport, serve(answering(hints * 2 + OK)).url)
    assert (reply.status, reply.headers) == (200, {"content-length": "2"})


def test_who_switches_to_another_protocol_has_answered(transport, serve):
    server = serve(answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\0\1\2", OK))
    assert get(transport, server.url).status == 101


def test_a_few_100_continue_come_before_the_answer(transport, serve):
    assert get(transport, serve(answering(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK)).url).body == b"ok"
