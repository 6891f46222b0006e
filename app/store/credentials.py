"""What of a registration is secret, as one text to be sealed."""

import json
from typing import Any

from app.domain.registration import EarlierSecret, Registration
from app.domain.times import from_ms, to_ms
from app.domain.wire import to_json


def dump(registration: Registration) -> str:
    earlier = [[each.secret, to_ms(each.until)] for each in registration.earlier_secrets]
    special = [dict(registration.headers), earlier] if registration.headers or earlier else []
    return to_json([registration.secret, registration.callback_url, *special])


def unknown(destination: str) -> dict[str, Any]:
    """In place of what `load` returns: enough to show the registration by, and of no other use."""
    return {"secret": "", "callback_url": destination}


def load(text: str) -> dict[str, Any]:
    """The fields of a Registration that `dump` took."""
    secret, callback_url, headers, earlier = (*json.loads(text), {}, [])[:4]
    return {
        "secret": secret,
        "callback_url": callback_url,
        "headers": headers,
        "earlier_secrets": tuple(EarlierSecret(each, from_ms(until)) for each, until in earlier),
    }
