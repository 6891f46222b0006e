"""Other people's text, made fit to stand in a message: one line, nothing hidden in it, no longer than there is room."""

import re

CUT = "…"
# Changes nothing to the eye, but `@` with one behind it calls nobody.
NOTHING = "\u200b"
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
# What is not seen (Unicode's Cf and non-characters), such as marks that turn the direction of writing. U+200D stays:
# it stands in the middle of many emoji.
HIDDEN = re.compile(
    "[\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0x110000, 0x10000))
    + "]"
)


def plain(text: str, longest: int) -> str:
    """longest: in UTF-16 units, as half of the services count; it is never less than their own way of counting."""
    # What is far behind would be cut off: text may be long, and messages are written several times until they fit.
    begin = text[: 2 * longest + 64]
    return clip(" ".join(HIDDEN.sub("", CONTROL.sub(" ", begin)).split()), longest)


def units(text: str) -> int:
    """UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def clip(text: str, longest: int) -> str:
    if units(text) <= longest:
        return text
    room = max(longest - len(CUT), 0)
    kept = text[:room]
    while (over := units(kept) - room) > 0:
        kept = kept[: len(kept) - (over + 1) // 2]
    return kept.rstrip() + CUT
