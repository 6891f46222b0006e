"""Sanitises untrusted text for messages: one line, no invisible characters, limited length."""

import re

CUT = "…"
# Invisible, but `@` followed by one mentions nobody.
ZERO_WIDTH_SPACE = "\u200b"
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
# Invisible characters (Unicode's Cf and non-characters), such as bidirectional marks. U+200D stays: many emoji contain
# it.
HIDDEN = re.compile(
    "[\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0x110000, 0x10000))
    + "]"
)


def plain(text: str, max_length: int) -> str:
    """max_length: in UTF-16 units, as half of the services count; the others never count more."""
    # Text may be long, and messages are rendered several times until they fit: skip what would be cut off anyway.
    start = text[: 2 * max_length + 64]
    return clip(" ".join(HIDDEN.sub("", CONTROL.sub(" ", start)).split()), max_length)


def units(text: str) -> int:
    """Returns the length in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def clip(text: str, max_length: int) -> str:
    if units(text) <= max_length:
        return text
    space = max(max_length - len(CUT), 0)
    kept = text[:space]
    while (over := units(kept) - space) > 0:
        kept = kept[: len(kept) - (over + 1) // 2]
    return kept.rstrip() + CUT
