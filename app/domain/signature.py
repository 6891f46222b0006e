"""Standard Webhooks signatures. Source: the Standard Webhooks specification, 1.0."""

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable
from datetime import datetime

PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)
FRESH_SECRET_BYTES = 32

# Maps the signed content to `v1,<base64>` (symmetric) or `v1a,<base64>` (ed25519).
Signer = Callable[[bytes], str]


def new_secret(random_bytes: bytes) -> str:
    return PREFIX + base64.b64encode(random_bytes).decode()


def secret_bytes(secret: str) -> bytes:
    """Returns the key inside `whsec_…`. Raises ValueError unless it is one of 24 to 64 bytes."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"must start with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"what follows {PREFIX} is not base64") from error
    if len(key) not in SECRET_BYTES:
        raise ValueError("must contain 24 to 64 bytes")
    return key


def by_secret(secret: str) -> Signer:
    key = secret_bytes(secret)
    return lambda content: "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()


def headers(signers: Iterable[Signer], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Returns the signature headers. Receivers accept a message if one of its signatures is valid."""
    timestamp = int(at.timestamp())
    content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(content) for sign in signers),
    }
