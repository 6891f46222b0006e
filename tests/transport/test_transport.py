"""The transport against servers that misbehave."""

import gzip
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from time import monotonic, sleep

import pytest

from app.transport.sockets import connect_anywhere
from app.transport.stopwatch import Stopwatch
from app.transport.unreachable import Unreachable, UnreachableKind
from tests.support.transport_calls import LONG, OK, SHORT, answering, get, unreachable


def test_a_request_carries_what_was_given_and_nothing_else(transport, serve):
    seen = []

    def script(peer):
        seen.append(peer.request())
        peer.send(OK)

    server = serve(script)
    reply = transport.send("POST", f"{server.url}/a%2Fb?c=d", headers={"X-A": "1"}, body=b"{}", deadline=LONG)
    assert (reply.status, reply.body, reply.truncated) == (200, b"ok", False)
    head, body = seen[0].split(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /a%2Fb?c=d HTTP/1.1",
        b"Host: 127.0.0.1:%d" % server.port,
        b"Accept-Encoding: identity",
        b"X-A: 1",
        b"Content-Length: 2",
    ]
    assert body == b"{}"


def test_headers_are_known_by_their_names_in_small_letters(transport, serve):
    server = serve(answering(b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"))
    assert get(transport, server.url).headers["retry-after"] == "7"


def test_a_user_agent_of_the_callers_is_sent_whatever_its_case(transport, serve):
    seen = []
    server = serve(lambda peer: (seen.append(peer.request()), peer.send(OK)))
    transport.send("GET", server.url, headers={"user-agent": "ours/1"}, deadline=LONG)
    assert seen[0].lower().count(b"user-agent") == 1
    assert b"user-agent: ours/1" in seen[0]


def test_a_connection_is_kept_and_used_again(transport, serve):
    server = serve(answering(OK, OK, OK))
    assert [get(transport, server.url).body for _ in range(3)] == [b"ok"] * 3
    assert server.connections == 1


def test_many_threads_share_one_transport(transport, serve):
    def script(peer):
        while request := peer.request():
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + request.split(b"/")[1][:3])

    server = serve(script)
    numbers = [str(number) for number in range(100, 200)]
    with ThreadPoolExecutor(8) as pool:
        replies = pool.map(lambda number: get(transport, f"{server.url}/{number}/"), numbers)
        assert [reply.body.decode() for reply in replies] == numbers
    assert server.connections <= 8


def test_headers_that_drip_end_with_the_deadline(transport, serve):
    def script(peer):
        peer.send(b"HTTP/1.1 200 OK\r\nX: ")
        peer.drip(b"x")

    before = monotonic()
    assert unreachable(transport, serve(script).url, SHORT).kind is UnreachableKind.TIMEOUT
    assert monotonic() - before < 5


def test_a_server_that_never_answers_is_a_timeout_that_names_the_deadline(transport, serve):
    error = unreachable(transport, serve(lambda peer: peer.hang()).url, SHORT)
    assert (error.kind, str(error)) == (UnreachableKind.TIMEOUT, "timed out after 1 s")


def test_a_server_that_does_not_read_is_a_timeout(transport, serve):
    server = serve(lambda peer: peer.hang())
    with pytest.raises(Unreachable) as caught:
        transport.send("POST", server.url, headers={}, body=bytes(20_000_000), deadline=SHORT)
    assert caught.value.kind is UnreachableKind.TIMEOUT


def test_a_status_line_is_an_answer_even_if_the_body_drips_past_the_deadline(transport, serve):
    def script(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        peer.drip(b"x")

    server = serve(script)
    reply = get(transport, server.url, SHORT)
    assert (reply.status, reply.truncated) == (200, True)
    assert set(reply.body) == set(b"x")


def test_a_cut_body_is_an_answer_that_says_so(transport, serve):
    server = serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"))
    reply = get(transport, server.url)
    assert (reply.body, reply.truncated) == (b"half", True)


def test_a_chunk_of_nonsense_is_a_cut_body(transport, serve):
    server = serve(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n"))
    reply = get(transport, server.url)
    assert (reply.body, reply.truncated) == (b"ok", True)


def test_an_endless_body_is_cut_at_its_limit_and_the_connection_ended(transport, serve):
    sent = []

    def script(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.send(bytes(1000))
            sent.append(1000)

    server = serve(script)
    reply = get(transport, server.url, max_bytes=5000)
    assert (len(reply.body), reply.truncated) == (5000, True)
    get(transport, server.url, max_bytes=5000)
    assert server.connections == 2


def test_a_body_of_exactly_the_limit_is_whole(transport, serve):
    server = serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345", OK))
    reply = get(transport, server.url, max_bytes=5)
    assert (reply.body, reply.truncated) == (b"12345", False)
    get(transport, server.url)
    assert server.connections == 1


def test_a_body_in_the_smallest_of_chunks_does_not_pass_the_byte_budget(transport, serve):
    def script(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.drip(b"1;" + b"x" * 10_000 + b"\r\nx\r\n", pause=0)

    reply = get(transport, serve(script).url, max_bytes=1000)
    assert reply.truncated
    assert len(reply.body) < 30


def test_a_redirect_is_not_followed_and_its_body_not_read_beyond_the_limit(transport, serve):
    inward = serve(answering(OK))
    location = f"Location: {inward.url}/\r\n".encode()

    def script(peer):
        peer.request()
        peer.send(b"HTTP/1.1 302 Found\r\n" + location + b"Content-Length: 100000000\r\n\r\n")
        peer.drip(bytes(1000), pause=0)

    reply = get(transport, serve(script).url, max_bytes=2000)
    assert (reply.status, len(reply.body), reply.truncated) == (302, 2000, True)
    assert inward.connections == 0


def test_a_header_that_would_begin_another_line_is_a_mistake_of_the_callers(transport, serve):
    server = serve(answering(OK))
    for headers in ({"X": "s3cret\r\nY: z"}, {"X": "a\nb"}, {"X\r\nY": "z"}, {"X: Y": "z"}, {"": "z"}, {"X": "a\0"}):
        with pytest.raises(ValueError, match=r"^a header is malformed$"):
            transport.send("GET", server.url, headers=headers, deadline=LONG)
    assert get(transport, server.url).body == b"ok"


def test_a_server_that_closes_after_the_request_is_tried_once(transport, serve):
    server = serve(answering(b""))
    error = unreachable(transport, server.url)
    assert (error.kind, str(error)) == (UnreachableKind.CLOSED, "connection closed without an answer")
    assert server.connections == 1


def test_a_kept_connection_that_the_server_closed_when_idle_is_replaced(transport, serve):
    server = serve(answering(OK))
    for _ in range(3):
        assert get(transport, server.url).body == b"ok"
    assert server.connections == 3


def test_a_kept_connection_closed_while_the_request_is_on_its_way_deserves_one_fresh_try(transport, serve):
    def script(peer):
        peer.request()
        peer.send(OK)
        if peer.request() and server.connections == 1:
            return
        peer.send(OK)

    server = serve(script)
    get(transport, server.url)
    assert get(transport, server.url).body == b"ok"
    assert server.connections == 2


TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n%s\r\n"


@pytest.mark.parametrize("late", [TIMED_OUT % b"Connection: close\r\n", TIMED_OUT % b"", OK, b"x"])
def test_an_answer_that_lay_on_the_connection_before_the_request_is_not_its_answer(transport, serve, late):
    answered, told = Event(), Event()

    def script(peer):
        peer.request()
        peer.send(OK)
        if server.connections == 1:
            answered.wait(10)
            peer.send(late)
            told.set()
            peer.hang()

    server = serve(script)
    assert get(transport, server.url).status == 200
    answered.set()
    assert told.wait(10)
    assert get(transport, server.url).body == b"ok"
    assert server.connections == 2


def test_a_408_that_crosses_the_request_on_a_kept_connection_is_not_its_answer(transport, serve):
    def script(peer):
        peer.request()
        peer.send(OK)
        if server.connections == 1:
            peer.request()  # read only so that the answer cannot come before it
            peer.send(TIMED_OUT % b"Connection: close\r\n")

    server = serve(script)
    assert [get(transport, server.url).status for _ in range(2)] == [200, 200]
    assert server.connections == 2


@pytest.mark.parametrize("kept", [True, False])
def test_a_408_about_the_request_is_its_answer(transport, serve, kept):
    answers = [OK, TIMED_OUT % b""] if kept else [TIMED_OUT % b"Connection: close\r\n"]
    server = serve(answering(*answers))
    assert [get(transport, server.url).status for _ in answers][-1] == 408
    assert server.connections == 1


def test_the_fresh_try_is_the_last(transport, serve):
    def script(peer):
        if server.connections == 1:
            peer.request()
            peer.send(OK)
        peer.request()

    server = serve(script)
    get(transport, server.url)
    assert unreachable(transport, server.url).kind is UnreachableKind.CLOSED
    assert server.connections == 2


def test_a_gzip_bomb_is_not_decompressed(transport, serve):
    bomb = gzip.compress(bytes(10_000_000))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    assert get(transport, serve(answering(head + bomb)).url).body == bomb


def test_proxies_in_the_environment_are_ignored(transport, serve, monkeypatch):
    proxy = serve(answering(b"HTTP/1.1 502 Proxy\r\nContent-Length: 0\r\n\r\n"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    assert get(transport, serve(answering(OK)).url).status == 200


def test_passwords_in_a_netrc_are_not_sent(transport, serve, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text(
        "default login ours password s3cret\nmachine 127.0.0.1 login ours password s3cret\n", encoding="utf-8"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    seen = []
    server = serve(lambda peer: (seen.append(peer.request()), peer.send(OK)))
    assert get(transport, server.url).status == 200
    assert b"authorization" not in seen[0].lower()


def test_a_port_where_nobody_listens_is_connection_refused(transport):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = unreachable(transport, f"http://127.0.0.1:{port}")
    assert (error.kind, str(error)) == (UnreachableKind.CONNECT, "connection refused")


def test_a_name_without_an_address_says_so(transport):
    error = unreachable(transport, "http://bot.invalid")
    assert (error.kind, str(error)) == (UnreachableKind.NAME, "name does not resolve")


@pytest.mark.parametrize("url", ["ftp://bot.example/", "http://bot.example:port/", "http://a..test/"])
def test_a_url_that_is_none_is_a_mistake_of_the_callers(transport, url):
    with pytest.raises(ValueError, match=r".+"):
        get(transport, url)


def test_a_refusal_by_connect_reaches_the_caller_as_it_is_and_is_not_tried_again(transport):
    connects = []

    class ConnectRefused(Exception):
        pass

    def connect(scheme, host, port, call):
        connects.append((scheme, host, port))
        raise ConnectRefused

    with pytest.raises(ConnectRefused):
        get(transport, "http://bot.example:8080/", connect=connect)
    assert connects == [("http", "bot.example", 8080)]


def test_calls_share_connections_if_what_opens_them_is_equal(transport, serve):
    def differently(scheme, host, port, call):
        return connect_anywhere(scheme, host, port, call)

    server = serve(answering(OK, OK, OK))
    for connect in (connect_anywhere, differently, connect_anywhere, differently):
        get(transport, server.url, connect=connect)
    assert server.connections == 2


def test_a_stopwatch_shows_where_the_time_went(transport, serve):
    def script(peer):
        while peer.request():
            sleep(0.05)
            peer.send(OK)

    server = serve(script)
    first, second = Stopwatch(), Stopwatch()
    for stopwatch in (first, second):
        get(transport, server.url, stopwatch=stopwatch)
    opened, reused = first.timings(), second.timings()
    assert opened.lookup is not None
    assert opened.connect is not None
    assert opened.tls is None
    assert timedelta(seconds=0.05) <= opened.first_byte <= opened.total
    assert (reused.lookup, reused.connect, reused.tls) == (None, None, None)
    assert timedelta(seconds=0.05) <= reused.first_byte <= reused.total


def test_a_stopwatch_shows_how_far_a_call_came_that_failed(transport, serve):
    stopwatch = Stopwatch()
    with pytest.raises(Unreachable):
        get(transport, serve(lambda peer: peer.hang()).url, SHORT, stopwatch=stopwatch)
    assert set(stopwatch.timings().in_ms()) == {"total_ms", "lookup_ms", "connect_ms"}
    assert stopwatch.timings().total >= SHORT


def test_no_line_of_a_log_holds_a_url(transport, serve, caplog):
    caplog.set_level(logging.DEBUG)
    server = serve(answering(b"HTTP/1.1 200 OK\r\nbroken header\r\nX: y\r\nContent-Length: 0\r\n\r\n"))
    get(transport, f"{server.url}/hooks/s3cret")
    assert "s3cret" not in caplog.text


def test_an_error_and_what_led_to_it_show_no_url(transport, serve):
    error = unreachable(transport, serve(answering(b"")).url)
    assert "s3cret" not in repr(error.__cause__)
    assert error.__suppress_context__
