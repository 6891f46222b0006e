"""Encrypts what is secret before it is kept: AES-256-GCM, bound to its place; several keys, so that one can go."""

import base64
import hmac
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.domain.errors import OperatorError

NONCE_BYTES = 12  # NIST SP 800-38D, 8.2
DIGEST_PURPOSE = b"cph-webhook-bridge digest"
DIGEST_DIGITS = 32  # 128 bits
OPEN = "open"  # the "key id" of what is kept as it is, where the deployment has no keys


class Cipher:
    """keys: id → 32 bytes; the first one seals, each of them opens."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._ciphers = {id: AESGCM(key) for id, key in keys.items()}
        self._writes = next(iter(keys), OPEN)
        # Keys of their own: one key is for one purpose.
        self._digest_keys = [hmac.digest(key, DIGEST_PURPOSE, "sha256") for key in keys.values() or (b"",)]

    def encrypt(self, text: str, place: str) -> str:
        """`<key id>.<base64>`. Only under the same `place` (e.g. `tenant|registration`) does it open again."""
        if self._writes == OPEN:
            return f"{OPEN}.{text}"
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._writes].encrypt(nonce, text.encode(), place.encode())
        return f"{self._writes}.{base64.b64encode(nonce + sealed).decode()}"

    @property
    def key_id(self) -> str:
        """Of the key that seals."""
        return self._writes

    def digests(self, text: str) -> tuple[str, ...]:
        """What it can be found by again without being told: one for each key, that of the key that seals first."""
        return tuple(hmac.digest(key, text.encode(), "sha256").hex()[:DIGEST_DIGITS] for key in self._digest_keys)

    def decrypt(self, sealed: str, place: str) -> str:
        key_id, _, content = sealed.partition(".")
        if key_id == OPEN:
            return content
        if key_id not in self._ciphers:
            raise OperatorError(
                f"sealed with key {key_id!r}, which BRIDGE_SECRET_KEYS does not hold: add it again, last"
            )
        raw = base64.b64decode(content)
        try:
            return self._ciphers[key_id].decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place.encode()).decode()
        except InvalidTag as error:
            raise OperatorError(f"what key {key_id!r} sealed does not open: another key has its id now") from error


def key_of(sealed: str) -> str:
    """Id of the key that sealed it."""
    return sealed.partition(".")[0]
