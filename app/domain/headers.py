"""The headers that a subscriber wants on its callbacks."""

import re
from collections.abc import Mapping

from app.domain.errors import InvalidField

POINTER = "/headers"
MOST = 20
LONGEST = 4096

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110, 5.1: a token
# Visible ASCII with spaces and tabs inside: what is beyond means different things to different receivers.
VALUE = re.compile(r"(?:[!-~](?:[ \t!-~]*[!-~])?)?")

# Framing, connections and negotiation are the transport's; so is who is calling whom.
OWNED = frozenset(
    (
        *("accept-encoding", "connection", "content-encoding", "content-length", "content-type", "cookie", "date"),
        *("expect", "forwarded", "host", "http2-settings", "keep-alive", "te", "traceparent", "tracestate", "trailer"),
        *("transfer-encoding", "upgrade", "user-agent", "via"),
    )
)
OWNED_PREFIXES = ("bridge-", "proxy-", "webhook-", "x-forwarded-")


def check_headers(headers: Mapping[str, str]) -> None:
    """InvalidField says which one is wrong, never with its value: it is often a credential."""
    if len(headers) > MOST:
        raise InvalidField(POINTER, f"more than {MOST}")
    seen: set[str] = set()
    for name, value in headers.items():
        if not NAME.fullmatch(name):
            raise InvalidField(POINTER, "a name is no header's", "letters, digits and dashes, as in X-Room")
        pointer = f"{POINTER}/{name.replace('~', '~0')}"
        low = name.lower()
        if is_owned(name):
            raise InvalidField(pointer, "is the bridge's own")
        if low in seen:
            raise InvalidField(pointer, "is there twice")
        if len(value) > LONGEST or not VALUE.fullmatch(value):
            raise InvalidField(pointer, f"must be printable ASCII, at most {LONGEST} characters, no space at its ends")
        seen.add(low)


def is_owned(name: str) -> bool:
    low = name.lower()
    return low in OWNED or low.startswith(OWNED_PREFIXES)
