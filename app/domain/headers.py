"""Rules for the request headers that a subscriber adds to its callbacks."""

import re
from collections.abc import Mapping

from app.domain.errors import InvalidField

POINTER = "/headers"
MAX_HEADERS = 20
MAX_VALUE_LENGTH = 4096

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110, 5.1: a token
# Visible ASCII with spaces and tabs inside: receivers decode other characters differently.
VALUE = re.compile(r"(?:[!-~](?:[ \t!-~]*[!-~])?)?")

# The transport sets framing, connection and negotiation headers, and those that identify client and host.
OWNED = frozenset(
    (
        *("accept-encoding", "connection", "content-encoding", "content-length", "content-type", "cookie", "date"),
        *("expect", "forwarded", "host", "http2-settings", "keep-alive", "te", "traceparent", "tracestate", "trailer"),
        *("transfer-encoding", "upgrade", "user-agent", "via"),
    )
)
OWNED_PREFIXES = ("bridge-", "proxy-", "webhook-", "x-forwarded-")


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises InvalidField for the header that is wrong. The error omits the value: it is often a credential."""
    if len(headers) > MAX_HEADERS:
        raise InvalidField(POINTER, f"more than {MAX_HEADERS} headers")
    seen: set[str] = set()
    for name, value in headers.items():
        if not NAME.fullmatch(name):
            raise InvalidField(POINTER, "has an invalid header name", "letters, digits and dashes, as in X-Room")
        pointer = f"{POINTER}/{name.replace('~', '~0')}"
        low = name.lower()
        if is_owned(name):
            raise InvalidField(pointer, "is set by the bridge")
        if low in seen:
            raise InvalidField(pointer, "appears twice")
        if len(value) > MAX_VALUE_LENGTH or not VALUE.fullmatch(value):
            raise InvalidField(
                pointer, f"must be printable ASCII, at most {MAX_VALUE_LENGTH} characters, no space at either end"
            )
        seen.add(low)


def is_owned(name: str) -> bool:
    low = name.lower()
    return low in OWNED or low.startswith(OWNED_PREFIXES)
