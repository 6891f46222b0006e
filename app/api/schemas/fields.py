"""Types that several models share: times, cursors, limits, secrets."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from app.config.format_catalog import AUTO
from app.config.templates import PREFIX
from app.domain.errors import InvalidField
from app.domain.event import EventType, OwnEventType
from app.domain.times import rfc3339
from app.formats import links, registry

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
DIGITS = re.compile(r"-?[0-9]{1,9}")
LATEST = "latest"
MAX_STREAM_ID_PART = 2**64 - 1  # redis.io, Streams: both parts of an id have 64 bits
DATE_TIME = WithJsonSchema({"type": "string", "format": "date-time"})


def _to_the_millisecond(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check_rfc3339(text: Any) -> Any:
    if not isinstance(text, str) or not RFC_3339.fullmatch(text):
        raise ValueError("must be an RFC 3339 time such as 2019-04-26T07:00:08Z")
    return text


def _check_link(link: str) -> str:
    try:
        links.check(link)
    except InvalidField as error:
        raise ValueError(f"{error.detail}; {error.hint}" if error.hint else error.detail) from None
    return link


def _check_digits(text: str) -> str:
    if not DIGITS.fullmatch(text):
        raise ValueError("must be an integer")
    return text


Moment = Annotated[datetime, PlainSerializer(rfc3339), DATE_TIME]
PreciseMoment = Annotated[datetime, PlainSerializer(_to_the_millisecond), DATE_TIME]
GivenMoment = Annotated[AwareDatetime, BeforeValidator(_check_rfc3339), DATE_TIME]
GivenSecret = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        description="`whsec_` + base64 of 24 to 64 bytes; generated if omitted. Chat formats: the bot's own, if any.",
    ),
]
GivenLink = Annotated[
    str,
    AfterValidator(_check_link),
    Field(max_length=1024, description="URL of a page about the event; may contain placeholders such as `{job_id}`."),
]
FormatName = Annotated[
    str,
    Field(
        max_length=80,
        description="`auto` selects a chat format by the URL's host, else `standard`.",
        json_schema_extra={
            "anyOf": [
                {"type": "string", "enum": [AUTO, *registry.BY_NAME]},
                {"type": "string", "pattern": f"^{PREFIX}"},
            ]
        },
    ),
]

# One enum, which every client generator supports; pydantic would write a union of two.
AnyEventType = Annotated[
    EventType | OwnEventType, WithJsonSchema({"type": "string", "enum": [*EventType, *OwnEventType]})
]

# pydantic would also accept blanks, signs and underscores.
Digits = BeforeValidator(_check_digits)
Limit = Annotated[int, Field(ge=1, le=200), Digits]
Wait = Annotated[int, Field(ge=0, le=60, description="Long polling: seconds to wait for a result, at most."), Digits]


def encode_cursor(cursor: str | None) -> str | None:
    """Makes a store's cursor opaque for callers."""
    return cursor and urlsafe_b64encode(cursor.encode()).decode()


def decode_cursor(pattern: str) -> Callable[[str], str]:
    """Returns the inverse of `encode_cursor`. It raises ValueError unless the store's cursor matches the pattern."""

    def decode(text: str) -> str:
        try:
            cursor = urlsafe_b64decode(text).decode("ascii")
        except ValueError:
            cursor = ""
        if not re.fullmatch(pattern, cursor):
            raise ValueError("not a cursor of this list")
        return cursor

    return decode


def _decode_feed_cursor(text: str) -> str:
    if text == LATEST:
        return text
    cursor = decode_cursor(r"[0-9]{1,20}-[0-9]{1,20}")(text)
    parts = [int(part) for part in cursor.split("-")]
    # No entry can follow the last id: Redis rejects a range that begins after it.
    if max(parts) > MAX_STREAM_ID_PART or min(parts) == MAX_STREAM_ID_PART:
        raise ValueError("not a cursor of this list")
    return cursor


RegistrationCursor = Annotated[str, AfterValidator(decode_cursor(r"reg_[0-9a-z]{26}"))]
DestinationCursor = Annotated[str, AfterValidator(decode_cursor(r"https?://[!-~]+"))]
DeliveryCursor = Annotated[str, AfterValidator(decode_cursor(r"[0-9]{13}:dlv_[0-9a-z]{26}"))]
FeedCursor = Annotated[str, AfterValidator(_decode_feed_cursor)]
KeyCursor = Annotated[str, AfterValidator(decode_cursor(r"[0-9]{13}:[0-9a-f]{12}"))]
