"""Excerpts of responses for the attempt log, with secrets masked."""

import re
from collections.abc import Iterable, Iterator

LENGTH = 256
REDACTED = "…"
SHORTEST_SECRET, SHORTEST_PART = 4, 8
# The characters not matched here look the same in JSON, in HTML and percent-encoded.
ESCAPABLE = re.compile(r"[^A-Za-z0-9._~-]")


def excerpt(body: bytes, *, secrets: Iterable[str]) -> str | None:
    """Returns the first 256 characters, printable and on one line; None if empty.

    secrets: values to mask if the server quotes them, in whole or in part.
    """
    if not body:
        return None
    text = body.decode("utf-8", "replace")
    for secret in sorted(_to_mask(secrets), key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    text = text[:LENGTH]
    return "".join(character if character.isprintable() else " " for character in text).strip() or None


def _to_mask(secrets: Iterable[str]) -> Iterator[str]:
    """Skips short values: masking a value such as `1` would leave nothing readable."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            yield secret
        yield from (part for part in ESCAPABLE.split(secret) if len(part) >= SHORTEST_PART)
