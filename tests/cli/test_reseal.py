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
def registration_id(stores: Stores, registration) -> str:
    """Id of a registration that is encrypted with the key of `environment`."""
    made = registration()
    stores.registrations.add(made)
    return str(made.id)


def test_it_re_encrypts_checks_again_and_says_which_keys_may_be_removed(
    registration_id: str, environment: dict[str, str], runtime: Runtime
) -> None:
    both = environment | {"BRIDGE_SECRET_KEYS": f"{NEW},{environment['BRIDGE_SECRET_KEYS']}"}
    done = run(both, "reseal")
    assert (done.exit_code, done.stderr) == (0, "")
    first, more, second, last = done.stdout.splitlines()
    assert (first, second) == ("1 checked, 1 re-encrypted", "1 checked, 0 re-encrypted")
    assert more.startswith("second pass")
    assert last.startswith("Everything is encrypted with 'new'.")
    alone = Runtime(load(environment | {"BRIDGE_SECRET_KEYS": NEW}))
    assert alone.stores.registrations.get("t", registration_id)
    alone.stores.redis.close()
    assert run(both, "reseal").stdout.splitlines()[0] == "1 checked, 0 re-encrypted"


def test_it_names_a_key_that_is_missing(registration_id: str, environment: dict[str, str]) -> None:
    done = run(environment | {"BRIDGE_SECRET_KEYS": NEW}, "reseal")
    assert done.exit_code == 1
    assert done.stderr == "1 are encrypted with 'k1' and cannot be decrypted; without that key they are lost\n"
    assert "may be removed" not in done.stdout


def test_without_a_key_there_is_nothing_to_encrypt_with(runtime: Runtime, environment: dict[str, str]) -> None:
    done = run(environment | {"BRIDGE_SECRET_KEYS": ""}, "reseal")
    assert done.exit_code == 2
    assert "BRIDGE_SECRET_KEYS" in done.stderr


def test_a_wrong_address_is_reported_without_waiting(environment: dict[str, str]) -> None:
    began = time.monotonic()
    done = run(environment | {"BRIDGE_REDIS_URL": "unix:///nowhere/redis.sock"}, "reseal")
    assert done.exit_code == 1
    assert "cannot be reached" in done.stderr
    assert time.monotonic() - began < PATIENT.within.total_seconds() / 2


def test_a_key_that_is_revoked_is_refused_within_seconds(stores: Stores, environment: dict[str, str]) -> None:
    key = run(environment, "keys", "create", "--tenant", "acme").stdout.strip()
    assert stores.api_keys.principal(key)
    assert run(environment, "keys", "revoke", key.split("_")[1]).exit_code == 0
    wait_until(lambda: stores.api_keys.principal(key) is None, timeout=5, what="its end")
    assert run(environment, "keys", "revoke", key.split("_")[1]).exit_code == 1
