"""Parses server-sent events: chunks in, messages out. Source: WHATWG HTML, 9.2."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """A message. id: the cursor to resume after it."""

    id: str
    event: str
    data: bytes


def messages(chunks: Iterable[bytes]) -> Iterator[ServerSentEvent]:
    """Yields complete messages only; the API resends one that a broken connection cut off."""
    fields: dict[bytes, list[bytes]] = {}
    for line in _lines(chunks):
        if line:
            name, _, value = line.partition(b":")
            fields.setdefault(name, []).append(value.removeprefix(b" "))
        else:
            if b"data" in fields:
                yield _message(fields)
            fields = {}


def _message(fields: dict[bytes, list[bytes]]) -> ServerSentEvent:
    def last(name: bytes) -> str:
        return fields.get(name, [b""])[-1].decode(errors="replace")

    return ServerSentEvent(last(b"id"), last(b"event"), b"\n".join(fields[b"data"]))


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yields lines without their ends, LF or CR LF."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.removesuffix(b"\r") for line in lines)
