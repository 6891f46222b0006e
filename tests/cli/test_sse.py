"""Server-sent events, however they are cut into chunks."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.cli.sse import ServerSentEvent, messages

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
