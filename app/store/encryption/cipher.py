"""Encrypts stored secrets with AES-256-GCM, bound to a context. Several keys allow key rotation."""

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
UNENCRYPTED = "open"  # the "key id" of plain text, in a deployment without keys


class Damaged(OperatorError, ValueError):
    """An encrypted text was changed: its key is the right one, as it has decrypted others."""


class Cipher:
    """keys: id → 32 bytes; the first key encrypts, every key decrypts."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._ciphers = {id: AESGCM(key) for id, key in keys.items()}
        self._proved: set[str] = set()  # ids of keys that have decrypted something
        self._write_key_id = next(iter(keys), UNENCRYPTED)
        # Derived keys: a key is for one purpose only.
        self._digest_keys = [hmac.digest(key, DIGEST_PURPOSE, "sha256") for key in keys.values() or (b"",)]

    def encrypt(self, text: str, context: str) -> str:
        """Returns `<key id>.<base64>`. Only the same context (such as `tenant|registration`) decrypts it."""
        if self._write_key_id == UNENCRYPTED:
            return f"{UNENCRYPTED}.{text}"
        nonce = os.urandom(NONCE_BYTES)
        encrypted = self._ciphers[self._write_key_id].encrypt(nonce, text.encode(), context.encode())
        return f"{self._write_key_id}.{base64.b64encode(nonce + encrypted).decode()}"

    @property
    def has_key(self) -> bool:
        """False in a deployment without keys, which stores plain text."""
        return self._write_key_id != UNENCRYPTED

    @property
    def key_id(self) -> str:
        """Id of the key that encrypts."""
        return self._write_key_id

    def digests(self, text: str) -> tuple[str, ...]:
        """Returns keyed digests of a text, to find it without storing it: one per key, the encrypting key first."""
        return tuple(hmac.digest(key, text.encode(), "sha256").hex()[:DIGEST_DIGITS] for key in self._digest_keys)

    def decrypt(self, encrypted: str, context: str) -> str:
        """Raises OperatorError if the key is missing or wrong, Damaged if the text is."""
        key_id, _, content = encrypted.partition(".")
        if key_id == UNENCRYPTED:
            return content
        if key_id not in self._ciphers:
            raise OperatorError(
                f"encrypted with key {key_id!r}, which is not in BRIDGE_SECRET_KEYS: add it again, as the last one"
            )
        raw = base64.b64decode(content)
        try:
            text = self._ciphers[key_id].decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], context.encode())
        except InvalidTag as error:
            if key_id in self._proved:
                raise Damaged("damaged, or another record's") from error
            raise OperatorError(f"key {key_id!r} cannot decrypt this: another key has its id now") from error
        self._proved.add(key_id)
        return text.decode()


def key_of(encrypted: str) -> str:
    """Returns the id of the key that encrypted it."""
    return encrypted.partition(".")[0]
