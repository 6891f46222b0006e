"""Sanitising the text of CPH and tenants for messages."""

import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from app.formats.sanitize import HIDDEN, clip, plain, units


def test_it_is_one_line_without_what_is_not_seen() -> None:
    assert plain(" a\r\n\tb\x00\x1b[31m\u2028c\u202egpj\u200b ", 100) == "a b [31m cgpj"


def test_emoji_stay_whole() -> None:
    assert plain("👩‍👩‍👧 ❤️", 100) == "👩‍👩‍👧 ❤️"


def test_what_is_hidden_is_what_unicode_says() -> None:
    # Except U+13430 to U+1343F: Python's Unicode version may not have all of them yet.
    every = [chr(code) for code in range(sys.maxunicode + 1) if not 0x13430 <= code <= 0x1343F]
    formats = {character for character in every if unicodedata.category(character) == "Cf"} - {"\u200d"}
    noncharacters = {
        character for character in every if ord(character) & 0xFFFE == 0xFFFE or "\ufdd0" <= character <= "\ufdef"
    }
    assert set(HIDDEN.findall("".join(every))) == formats | noncharacters


@given(st.text(max_size=50), st.integers(1, 20))
def test_it_is_never_longer_than_there_is_room(text: str, longest: int) -> None:
    cut = clip(text, longest)
    assert units(cut) <= longest
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]))
    assert units(plain(text, longest)) <= longest


def test_units_are_those_of_utf_16() -> None:
    assert units("a字😀") == 4
