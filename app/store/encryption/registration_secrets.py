"""What of a registration is secret, as one text to be sealed."""

import json
from typing import Any

from app.domain.registration import EarlierSecret, Registration
from app.domain.times import from_ms, to_ms
from app.domain.wire import to_json


def dump(registration: Registration) -> str:
    earlier = [[each.secret, to_ms(each.until)] for each in registration.earlier_secrets]
    parts = [registration.secret, registration.callback_url, dict(registration.headers), earlier, registration.metadata]
    while len(parts) > 1 and not parts[-1]:  # bytes count here
        parts.pop()
    return to_json(parts)


def unknown(destination: str) -> dict[str, Any]:
    """In place of what `load` returns: enough to show the registration by, and of no other use."""
    return {"secret": "", "callback_url": destination, "metadata": {}}


def load(text: str) -> dict[str, Any]:
    """The fields of a Registration that `dump` took."""
    given = json.loads(text)
    left_out: list[Any] = [None, None, {}, [], {}][len(given) :]
    secret, callback_url, headers, earlier, metadata = given + left_out
    return {
        "secret": secret,
        "callback_url": callback_url,
        "headers": headers,
        "earlier_secrets": tuple(EarlierSecret(each, from_ms(until)) for each, until in earlier),
        "metadata": metadata,
    }
