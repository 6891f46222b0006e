"""GET /v1/public-keys: the Ed25519 keys that verify callbacks."""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from tests.support.api_client import ApiCaller, problem

OLD, NEW = b"o" * 32, b"n" * 32


def test_a_deployment_without_keys_shows_none(api: ApiCaller) -> None:
    assert api.get("/v1/public-keys") == {"items": [], "next_cursor": None}
    problem(api.call("GET", "/v1/public-keys", key=None), 401)


def test_all_public_keys_are_shown_the_one_that_signs_first(environment: dict[str, str]) -> None:
    seeds = f"new:{base64.b64encode(NEW).decode()},old:{base64.b64encode(OLD).decode()}"
    runtime = Runtime(load({**environment, "BRIDGE_SIGNING_KEYS": seeds}))
    first, second = ApiCaller(runtime).get("/v1/public-keys")["items"]
    assert (first["id"], first["signs"], second["id"], second["signs"]) == ("new", True, "old", False)
    for shown, seed in ((first, NEW), (second, OLD)):
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        assert shown["key"] == "whpk_" + base64.b64encode(public).decode()
    runtime.stores.redis.close()
