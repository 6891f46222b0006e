"""The deployment's ed25519 keys: Standard Webhooks' `v1a`, which receivers verify without a shared secret."""

import base64
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.domain.signature import Signer

PUBLIC_PREFIX = "whpk_"


class SigningKeys:
    """Signs with the first key and publishes all. seeds: id → 32 bytes."""

    def __init__(self, seeds: Mapping[str, bytes]) -> None:
        self._keys = {id: Ed25519PrivateKey.from_private_bytes(seed) for id, seed in seeds.items()}

    @property
    def signers(self) -> tuple[Signer, ...]:
        """Returns one signer, or none in a deployment without keys."""
        return tuple(_signer(key) for key in self._keys.values())[:1]

    @property
    def public(self) -> dict[str, str]:
        """Returns id → `whpk_…`; the first one signs."""
        return {
            id: PUBLIC_PREFIX + base64.b64encode(key.public_key().public_bytes_raw()).decode()
            for id, key in self._keys.items()
        }


def _signer(key: Ed25519PrivateKey) -> Signer:
    return lambda content: "v1a," + base64.b64encode(key.sign(content)).decode()
