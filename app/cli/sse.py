"""Parses server-sent events: chunks in, messages out. Source: WHATWG HTML, 9.2."""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAX_MESSAGE_BYTES = 4 * 1024 * 1024  # an event has at most 1 MB; what is beyond is skipped
FIELDS = (b"id", b"event", b"data")  # not `retry`: `listen` has delays of its own
CURSOR = re.compile(r"[!-~]{1,200}")
LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """A message. id: the cursor to resume after it; '' if it has none."""

    id: str
    event: str
    data: bytes


def messages(chunks: Iterable[bytes]) -> Iterator[ServerSentEvent]:
    """Yields complete messages only; the API resends one that a broken connection cut off."""
    fields: dict[bytes, list[bytes]] = {}
    size = 0
    for line in _lines(chunks):
        if line:
            name, _, value = line.partition(b":")
            if name in FIELDS and size < MAX_MESSAGE_BYTES:
                fields.setdefault(name, []).append(value.removeprefix(b" ")[: MAX_MESSAGE_BYTES - size])
            size += len(line)
        else:
            if b"data" in fields:
                yield _message(fields)
            fields, size = {}, 0


def _message(fields: dict[bytes, list[bytes]]) -> ServerSentEvent:
    def last(name: bytes) -> str:
        return fields.get(name, [b""])[-1].decode(errors="replace")

    id = last(b"id")
    return ServerSentEvent(id if CURSOR.fullmatch(id) else "", last(b"event"), b"\n".join(fields[b"data"]))


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yields lines without their ends, the first one without a byte order mark."""
    rest, mark = b"", codecs.BOM_UTF8
    for chunk in chunks:
        text = rest + chunk
        # A CR at the end may be the first half of a CR LF.
        *lines, rest = LINE_END.split(text.removesuffix(b"\r"))
        for line in lines:
            yield line.removeprefix(mark)[:MAX_MESSAGE_BYTES]
            mark = b""
        rest = rest[:MAX_MESSAGE_BYTES] + (b"\r" if text.endswith(b"\r") else b"")
