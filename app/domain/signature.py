"""Standard Webhooks signatures (symmetric, `v1`). Source: the Standard Webhooks specification, 1.0."""

import base64
import binascii
import hmac
from datetime import datetime

PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)


def new_secret(chance: bytes) -> str:
    return PREFIX + base64.b64encode(chance).decode()


def secret_bytes(secret: str) -> bytes:
    """The key inside `whsec_…`. ValueError when it is not one of 24 to 64 bytes."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"must start with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"what follows {PREFIX} is not base64") from error
    if len(key) not in SECRET_BYTES:
        raise ValueError("must hold 24 to 64 bytes")
    return key


def sign(secret: str, message_id: str, at: datetime, body: bytes) -> str:
    """`v1,<base64>` over `id.timestamp.body`."""
    signed = b"%s.%d.%s" % (message_id.encode(), int(at.timestamp()), body)
    return "v1," + base64.b64encode(hmac.digest(secret_bytes(secret), signed, "sha256")).decode()


def headers(secret: str, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": sign(secret, message_id, at, body),
    }
