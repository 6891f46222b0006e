"""Reads JSON that others wrote, as far as it can be read: one damaged value costs itself."""

import json
import re
from typing import Any

MAX_DEPTH = 20  # of damaged values that are read part by part; what is nested deeper is skipped
MAX_ATTEMPTS = 5_000  # a page of CPH has 100 jobs with a dozen fields each
MAX_DIGITS = 300  # no integer is longer; a float of the same size stands for it

_NAME = r'"[A-Za-z0-9_.\-]{1,64}"\s*:'
_KEY = re.compile(r'\s*"((?:[^"\\\x00-\x1f]|\\.){0,200})"\s*:\s*')
_SPACE = re.compile(r"\s*")
_BETWEEN = re.compile(r"[\s,]*")
# What may follow a whole value: in an object, where the next name may be cut short, and in a list.
_CUT_NAME = r'(?:"[A-Za-z0-9_.\-]{0,64}"?\s*)?\Z'
_FIELD_NEXT = re.compile(rf"\s*(?:[}}\]]|\Z|,\s*(?:{_NAME}|\}}|{_CUT_NAME}))")
_ITEM_NEXT = re.compile(r"\s*(?:[,}\]]|\Z)")
# Where reading goes on behind a damaged value: the next field; within a list also the end of the record.
_NEXT_FIELD = re.compile(rf",\s*(?={_NAME})")
_NEXT_RECORD = re.compile(rf"\}}\s*,\s*\{{\s*{_NAME}")
_NEXT_FIELD_OR_RECORD = re.compile(rf",\s*(?={_NAME})|(?=\}}\s*(?:,\s*\{{\s*{_NAME}|\]|\Z))")


class DamagedText(str):
    """A text whose end is not certain: to be shown, never to be decided by."""

    __slots__ = ()


def read_value(body: bytes) -> Any:
    """Returns the value of a JSON text. Raises ValueError if it is none.

    Bytes that are not UTF-8 become U+FFFD; raw control characters, a byte order mark, UTF-16 and UTF-32 are taken.
    """
    failure = ValueError("no JSON")
    for encoding in dict.fromkeys((json.detect_encoding(body), "utf-8")):
        try:
            return _DECODER.decode(body.decode(encoding, "replace"))
        except (ValueError, RecursionError) as error:
            failure = ValueError(str(error))
    raise failure


def read_object(body: bytes) -> dict[str, Any]:
    """Returns the fields of a JSON object, the readable ones if it is damaged or cut short; empty if it is none."""
    try:
        value = read_value(body)
    except ValueError:
        text = body.decode("utf-8-sig", "replace").lstrip()
        value = _Damaged(text).document() if text.startswith("{") else {}
    return value if isinstance(value, dict) else {}


def text(value: object) -> str | None:
    """Returns None for an empty value and for one that is not a text."""
    if not isinstance(value, str) or not value:
        return None
    # JSON can escape half a surrogate pair, which UTF-8 cannot encode.
    return value.encode(errors="replace").decode()


def exact_text(value: object) -> str | None:
    """Returns what `text` does, None if the text is damaged: for ids, codes and tokens."""
    found = None if isinstance(value, DamagedText) else text(value)
    return None if found is None or "\ufffd" in found else found.strip() or None


def integer(value: object) -> int | None:
    """Returns an integer in any spelling: 2, 2.0, "2", " 2.0 ". None for anything else; `true` is no number."""
    if isinstance(value, DamagedText):
        return None
    if isinstance(value, str):
        try:
            value = _DECODER.decode(value.strip().removeprefix("+"))
        except (ValueError, RecursionError):
            return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


_DECODER = json.JSONDecoder(strict=False, parse_int=_parse_int)


class _Damaged:
    """A damaged JSON text, read part by part.

    Takes time in proportion to its length: after MAX_ATTEMPTS values nothing further is read, since a failed attempt
    of the json module looks at the whole text before it.
    """

    def __init__(self, body: str) -> None:
        self._body = body
        self._attempts_left = MAX_ATTEMPTS

    def document(self) -> dict[str, Any]:
        """Returns the fields of the object that is the whole text, also of those behind what looks like its end."""
        sound, later = self._fields(0, 1, _NEXT_FIELD)[:2]
        return later | sound

    def _fields(self, depth: int, at: int, resume: re.Pattern[str]) -> tuple[dict[str, Any], dict[str, Any], int]:
        """Returns the fields before the first damage, those behind it, and where the object ends.

        Of a field that comes twice, the sound one counts, else the last: a text without a certain end may hold what
        looks like fields.
        """
        sound: dict[str, Any] = {}
        later: dict[str, Any] = {}
        fields = sound
        while True:
            key = _KEY.match(self._body, _end(_BETWEEN, self._body, at))
            if key:
                value, at, whole = self._value(key.end(), depth, before=_FIELD_NEXT, resume=resume)
                fields = fields if whole else later
                fields[key[1]] = value
                at = _end(_SPACE, self._body, at)
            if key and not self._body.startswith("}", at):
                continue
            behind = _NEXT_FIELD.search(self._body, at) if depth == 0 else None
            if behind is None:
                return sound, later, at + 1 if key else at
            fields, at = later, behind.end()

    def _items(self, depth: int, at: int) -> tuple[list[Any], int]:
        """Returns the items and where the list ends."""
        found: list[Any] = []
        while True:
            at = _end(_BETWEEN, self._body, at)
            no_item = "[]}" if depth == 1 else "]}"
            if at == len(self._body) or self._body[at] in no_item or _KEY.match(self._body, at):
                # The outermost list is one of records: as long as one more follows, this is no end of the list.
                record = _NEXT_RECORD.search(self._body, at) if depth == 1 else None
                if record is None:
                    return found, at + 1 if self._body.startswith("]", at) else at
                at = record.start() + 1
            else:
                value, end, _ = self._value(at, depth, before=_ITEM_NEXT, resume=_NEXT_FIELD_OR_RECORD)
                found.append(value)
                at = max(end, at + 1)

    def _value(self, at: int, depth: int, *, before: re.Pattern[str], resume: re.Pattern[str]) -> tuple[Any, int, bool]:
        """Returns the value that begins at `at`, where it ends, and whether it is whole.

        before: what follows a whole value; a damaged character may hide the real end of a text. resume: where to go
        on behind a value that is not whole.
        """
        if not self._attempts_left:
            return None, len(self._body), False
        self._attempts_left -= 1
        # A list of records is read record by record: a damaged one may hold what looks like the end of the list.
        if not (depth == 0 and self._body.startswith("[", at)):
            try:
                value, end = _DECODER.raw_decode(self._body, at)
            except (ValueError, RecursionError):
                pass
            else:
                # A number at the very end may have lost digits.
                lost = end == len(self._body) and isinstance(value, int | float)
                if before.match(self._body, end):
                    return None if lost else value, end, not lost
        if depth < MAX_DEPTH and self._body.startswith("{", at):
            sound, later, end = self._fields(depth + 1, at + 1, resume)
            return later | sound, end, False
        if depth < MAX_DEPTH and self._body.startswith("[", at):
            return *self._items(depth + 1, at + 1), False
        found = resume.search(self._body, at)
        end = found.start() if found else len(self._body)
        if not self._body.startswith('"', at):
            return None, end, False
        return DamagedText(self._body[at + 1 : end].rstrip(' \t\r\n"}')), end, False


def _end(pattern: re.Pattern[str], body: str, at: int) -> int:
    """pattern: matches an empty text, too."""
    found = pattern.match(body, at)
    return found.end() if found else at
