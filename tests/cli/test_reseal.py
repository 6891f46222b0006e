"""`cph-bridge reseal`, `keys revoke`."""

import base64
import time

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import load
from app.devkit.processes import wait_until
from app.store.engine.connection import PATIENT
from tests.cli.test_cli import run

NEW = "new:" + base64.b64encode(b"n" * 32).decode()


@pytest.fixture
def taken(stores: Stores, registration) -> str:
    """Id of a registration that the key of `environment` has sealed."""
    made = registration()
    stores.registrations.add(made)
    return str(made.id)


def test_it_seals_anew_looks_again_and_says_which_keys_may_go(
    taken: str, environment: dict[str, str], runtime: Runtime
) -> None:
    both = environment | {"BRIDGE_SECRET_KEYS": f"{NEW},{environment['BRIDGE_SECRET_KEYS']}"}
    done = run(both, "reseal")
    assert (done.exit_code, done.stderr) == (0, "")
    first, more, second, last = done.stdout.splitlines()
    assert (first, second) == ("1 looked at, 1 sealed anew", "1 looked at, 0 sealed anew")
    assert more.startswith("once more")
    assert last.startswith("All is sealed with 'new'.")
    alone = Runtime(load(environment | {"BRIDGE_SECRET_KEYS": NEW}))
    assert alone.stores.registrations.get("t", taken)
    alone.stores.redis.close()
    assert run(both, "reseal").stdout.splitlines()[0] == "1 looked at, 0 sealed anew"


def test_it_names_a_key_that_is_missing(taken: str, environment: dict[str, str]) -> None:
    done = run(environment | {"BRIDGE_SECRET_KEYS": NEW}, "reseal")
    assert done.exit_code == 1
    assert done.stderr == "1 are sealed with 'k1' and do not open; without that key they are lost\n"
    assert "may be removed" not in done.stdout


def test_without_a_key_there_is_nothing_to_seal_with(runtime: Runtime, environment: dict[str, str]) -> None:
    done = run(environment | {"BRIDGE_SECRET_KEYS": ""}, "reseal")
    assert done.exit_code == 2
    assert "BRIDGE_SECRET_KEYS" in done.stderr


def test_a_wrong_address_is_told_and_not_sat_out(environment: dict[str, str]) -> None:
    began = time.monotonic()
    done = run(environment | {"BRIDGE_REDIS_URL": "unix:///nowhere/redis.sock"}, "reseal")
    assert done.exit_code == 1
    assert "cannot be reached" in done.stderr
    assert time.monotonic() - began < PATIENT.within.total_seconds() / 2


def test_a_key_that_is_revoked_opens_nothing_more_within_seconds(stores: Stores, environment: dict[str, str]) -> None:
    key = run(environment, "keys", "create", "--tenant", "acme").stdout.strip()
    assert stores.api_keys.principal(key)
    assert run(environment, "keys", "revoke", key.split("_")[1]).exit_code == 0
    wait_until(lambda: stores.api_keys.principal(key) is None, timeout=5, what="its end")
    assert run(environment, "keys", "revoke", key.split("_")[1]).exit_code == 1
