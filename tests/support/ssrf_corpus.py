"""The corpus of hostile URLs, and the two policies with which it is tested."""

import json
from typing import Any

from app.domain.address import AddressPolicy, Endpoint
from tests.support.paths import TESTS

_CORPUS = json.loads((TESTS / "webhooks" / "ssrf-corpus.json").read_text(encoding="utf-8"))
DNS: dict[str, list[str]] = _CORPUS["dns"]
ROWS: list[dict[str, Any]] = _CORPUS["urls"]

OWN_NAME = Endpoint("bridge.example.invalid")
STRICT = AddressPolicy(allow_http=False, allow_ports=frozenset({443, 8443}), allow_networks=(), denied=(OWN_NAME,))
OPEN = AddressPolicy(allow_http=True, allow_ports=frozenset(range(1, 65536)), allow_networks=(), denied=(OWN_NAME,))


def expected(row: dict[str, Any], policy: AddressPolicy) -> str:
    """Returns allow, deny or error. The URL of a redirect is allowed: only its target is hostile."""
    if row["expect"] == "not_followed" or (row["category"] == "port" and policy is OPEN):
        return "allow"
    return str(row["expect"])
