"""Server-sent events, however they are cut into chunks."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.cli.sse import MAX_MESSAGE_BYTES, ServerSentEvent, messages

STREAM = (
    b"retry: 2000\n\n"
    b'id: a\nevent: job.failed\ndata: {"x":"\xe6\x89\x8b\xe6\x9c\xba"}\n\n'
    b": heartbeat\n\n"
    b"id:b\r\ndata: one\r\ndata:  two\r\n\r\n"
    b"id: c\ndata: cut o"
)
MESSAGES = [ServerSentEvent("a", "job.failed", '{"x":"手机"}'.encode()), ServerSentEvent("b", "", b"one\n two")]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_whole_messages_come_out_whatever_the_chunks(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert list(messages(STREAM[a:b] for a, b in pairwise(edges))) == MESSAGES


def test_a_stream_without_a_message_has_none() -> None:
    assert list(messages([b": heartbeat\n\n", b"id: a\n\n", b""])) == []


def test_a_mark_at_the_start_every_line_end_and_a_cursor_that_is_none_are_taken() -> None:
    stream = b"\xef\xbb\xbfid: a\rdata: one\r\rid: \xe6\xff\ndata: two\n\ndata: three\r\n\r\nid: b c\ndata: four\n\n"
    assert [(each.id, each.data) for each in messages([stream])] == [
        ("a", b"one"),
        ("", b"two"),
        ("", b"three"),
        ("", b"four"),
    ]


def test_a_message_without_an_end_is_kept_up_to_a_limit_and_the_next_one_comes() -> None:
    endless = [b"id: a\ndata: x", *[b"x" * 65_536] * 100, b"\n", *[b"data: " + b"y" * 65_536 + b"\n"] * 100, b"\n"]
    first, second = messages([*endless, b"id: b\ndata: two\n\n"])
    assert (first.id, second) == ("a", ServerSentEvent("b", "", b"two"))
    assert len(first.data) <= MAX_MESSAGE_BYTES
