"""The beginning of an answer, for a log that people read."""

import re
from collections.abc import Iterable, Iterator

LENGTH = 256
REDACTED = "…"
SHORTEST_SECRET, SHORTEST_PART = 4, 8
# What is left between them looks the same in JSON, in HTML and percent-encoded.
QUOTED_IN_MANY_WAYS = re.compile(r"[^A-Za-z0-9._~-]")


def excerpt(body: bytes, *, secrets: Iterable[str]) -> str | None:
    """Printable, on one line. secrets: what was sent and is not shown, should the server quote it or a part of it."""
    if not body:
        return None
    text = body.decode("utf-8", "replace")
    for word in sorted(_unshown(secrets), key=len, reverse=True):
        text = text.replace(word, REDACTED)
    text = text[:LENGTH]
    return "".join(character if character.isprintable() else " " for character in text).strip() or None


def _unshown(secrets: Iterable[str]) -> Iterator[str]:
    """Short ones are left in: a value such as `1` would blot out everything."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            yield secret
        yield from (part for part in QUOTED_IN_MANY_WAYS.split(secret) if len(part) >= SHORTEST_PART)
