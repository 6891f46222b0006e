"""The secret fields of a registration, as one text to encrypt."""

import json
from typing import Any

from app.domain.registration import EarlierSecret, Registration
from app.domain.times import from_ms, to_ms
from app.domain.wire import to_json


def dump(registration: Registration) -> str:
    earlier = [[each.secret, to_ms(each.until)] for each in registration.earlier_secrets]
    parts = [registration.secret, registration.callback_url, dict(registration.headers), earlier, registration.metadata]
    while len(parts) > 1 and not parts[-1]:  # saves memory in Redis
        parts.pop()
    return to_json(parts)


def unknown(destination: str) -> dict[str, Any]:
    """Replaces the result of `load` if decryption fails; only good for showing the registration."""
    return {"secret": "", "callback_url": destination, "metadata": {}}


def load(text: str) -> dict[str, Any]:
    """Returns the fields of a Registration that `dump` stored."""
    stored = json.loads(text)
    omitted: list[Any] = [None, None, {}, [], {}][len(stored) :]
    secret, callback_url, headers, earlier, metadata = stored + omitted
    return {
        "secret": secret,
        "callback_url": callback_url,
        "headers": headers,
        "earlier_secrets": tuple(EarlierSecret(each, from_ms(until)) for each, until in earlier),
        "metadata": metadata,
    }
