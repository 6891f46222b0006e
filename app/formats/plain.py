"""Other people's text, made fit to stand in a message: one line, nothing hidden in it, no longer than there is room."""

import unicodedata

CUT = "…"
JOINER = "\u200d"  # in the middle of many emoji
# Changes nothing to the eye, but `@` with one behind it calls nobody.
NOTHING = "\u200b"


def plain(text: str, longest: int) -> str:
    """longest: in UTF-16 units, as half of the services count; it is never less than their own way of counting."""
    shown = "".join(_shown(character) for character in text[: longest * 8 + 64])
    return clip(" ".join(shown.split()), longest)


def units(text: str) -> int:
    """UTF-16 units."""
    return len(text) + sum(character > "\uffff" for character in text)


def clip(text: str, longest: int) -> str:
    if units(text) <= longest:
        return text
    room = longest - len(CUT)
    kept: list[str] = []
    for character in text:
        room -= units(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept).rstrip() + CUT


def _shown(character: str) -> str:
    """Nothing for what is not seen, such as marks that turn the direction of writing; a space for a new line."""
    match unicodedata.category(character):
        case "Cc" | "Zl" | "Zp" | "Zs":
            return " "
        case "Cf" if character != JOINER:
            return ""
        case "Cs":
            return "\ufffd"
        case "Cn" if ord(character) & 0xFFFE == 0xFFFE or "\ufdd0" <= character <= "\ufdef":
            return ""
        case _:
            return character
