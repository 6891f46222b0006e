"""Signatures and headers of attempts, and masking of secrets in the attempt log."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import WebhookVerificationError

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.domain.delivery import DeliveryState
from app.domain.job import Job, JobState
from tests.support.claims import claim_due
from tests.support.receiver import Callback, Receiver

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
OLD, NEW = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
SEEDS = ",".join(f"{id}:{base64.b64encode(id.encode() * 32).decode()}" for id in "ab")


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load(environment | {"BRIDGE_RETRY_SCHEDULE": "5,30,120", "BRIDGE_SIGNING_KEYS": SEEDS})


@pytest.fixture
def make_ended_registration(stores: Stores, registration, receiver: Receiver, clock) -> Any:
    """Makes a registration with secret OLD whose job has ended. Sets the clock to the real time, which the verifying
    package reads.
    """

    def make(**fields: Any) -> Any:
        clock.now = stores.clock()
        made = registration(
            **{"at": clock.now, "callback_url": receiver.url, "destination": "here", "secret": OLD} | fields
        )
        stores.registrations.add(made)
        (item,) = claim_due(stores.polls_due, clock.now, 1)
        stores.scripts.run(stores.watches.complete(item, Job(item.id, JobState.SUCCEEDED), clock.now))
        return made

    return make


@pytest.fixture
def rotate(stores: Stores, clock) -> Any:
    def to(made: Any, secret: str, overlap: timedelta) -> None:
        assert stores.registrations.change("t", made.id, lambda found: found.rotated(secret, clock(), overlap))

    return to


def signatures(callback: Callback, version: str) -> list[str]:
    return [each for each in callback.headers["webhook-signature"].split() if each.startswith(f"{version},")]


def test_every_attempt_of_a_rotation_carries_both_signatures_the_newest_first(
    delivery_worker, run_due, make_ended_registration, rotate, receiver: Receiver, clock
) -> None:
    made = make_ended_registration()
    receiver.statuses = [(500, {})]
    rotate(made, NEW, HOUR)
    for _ in range(2):
        run_due(delivery_worker)
        clock.now += 5.5 * SECOND
    assert len(receiver.callbacks) == 2
    for callback in receiver.callbacks:
        assert callback.verified_by(OLD)
        assert callback.verified_by(NEW)
        newest, _ = signatures(callback, "v1")
        alone = callback.headers | {"webhook-signature": newest}
        assert Callback("", alone, callback.body).verified_by(NEW)


def test_an_attempt_is_signed_by_what_is_in_force_at_its_time(
    delivery_worker, run_due, make_ended_registration, rotate, receiver: Receiver, clock
) -> None:
    made = make_ended_registration()
    receiver.statuses = [(500, {})] * 2
    run_due(delivery_worker)
    rotate(made, NEW, 6 * SECOND)
    for _ in range(2):
        clock.now += 5.5 * SECOND
        run_due(delivery_worker)
        clock.now += 28 * SECOND
    before, during, after = receiver.callbacks
    assert [len(signatures(each, "v1")) for each in (before, during, after)] == [1, 2, 1]
    assert before.verified_by(OLD)
    assert during.verified_by(OLD)
    assert after.verified_by(NEW)
    for callback, secret in ((before, NEW), (after, OLD)):
        with pytest.raises(WebhookVerificationError):
            callback.verified_by(secret)


def test_a_rotation_does_not_hold_up_an_attempt_under_way(
    delivery_worker, make_ended_registration, rotate, stores: Stores, receiver: Receiver, clock
) -> None:
    made = make_ended_registration()
    (begun,) = delivery_worker.prepare(claim_due(delivery_worker.agenda, clock(), 1))
    rotate(made, NEW, timedelta())
    stores.scripts.run_all(delivery_worker.do(begun))
    assert receiver.callbacks[0].verified_by(OLD)
    found = stores.registrations.get("t", made.id)
    assert found is not None
    assert (found[1].delivered, found[0].secret) == (1, NEW)


def test_the_first_key_of_the_deployment_signs_too(
    delivery_worker, run_due, make_ended_registration, runtime: Runtime, receiver
) -> None:
    make_ended_registration()
    run_due(delivery_worker)
    (callback,) = receiver.callbacks
    assert callback.verified_by(OLD)
    (v1a,) = signatures(callback, "v1a")
    signature = base64.b64decode(v1a.removeprefix("v1a,"))
    signed = f"{callback.headers['webhook-id']}.{callback.headers['webhook-timestamp']}.".encode() + callback.body
    first, second = (
        Ed25519PublicKey.from_public_bytes(base64.b64decode(key.removeprefix("whpk_")))
        for key in runtime.signing_keys.public.values()
    )
    first.verify(signature, signed)
    with pytest.raises(InvalidSignature):
        first.verify(signature, signed + b" ")
    with pytest.raises(InvalidSignature):
        second.verify(signature, signed)


def test_the_subscribers_headers_are_on_each_attempt(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, clock
) -> None:
    make_ended_registration(headers={"Authorization": "Bearer k3y", "X-Room": "ops, bridge"})
    receiver.statuses = [(500, {})]
    for _ in range(2):
        run_due(delivery_worker)
        clock.now += 5.5 * SECOND
    assert [
        (each.headers["authorization"], each.headers["x-room"], each.headers["content-type"])
        for each in receiver.callbacks
    ] == [("Bearer k3y", "ops, bridge", "application/json")] * 2


def test_what_the_receiver_repeats_of_it_is_not_kept(
    delivery_worker, run_due, make_ended_registration, rotate, stores: Stores, receiver: Receiver, deliveries_of
) -> None:
    made = make_ended_registration(headers={"Authorization": "Bearer k3y-of-the-bot", "X-Pin": "1234"})
    rotate(made, NEW, HOUR)
    receiver.statuses = [(401, {})]
    receiver.echoes = True
    run_due(delivery_worker)
    found = stores.deliveries.get("t", deliveries_of()[0].id)
    assert found is not None
    shown_attempts = json.dumps(found[1], ensure_ascii=False)
    assert "/hooks/" not in shown_attempts
    assert shown_attempts.count("…") >= 2
    for secret in ("k3y-of-the-bot", "1234", "s3cret", OLD.removeprefix("whsec_"), NEW.removeprefix("whsec_")):
        assert secret not in shown_attempts


def test_without_the_key_that_encrypted_it_a_delivery_waits_for_the_operator(
    delivery_worker,
    run_due,
    make_ended_registration,
    stores: Stores,
    environment: dict[str, str],
    receiver: Receiver,
    clock,
    deliveries_of,
) -> None:
    make_ended_registration()
    without = Runtime(load(environment | {"BRIDGE_SECRET_KEYS": "other:" + base64.b64encode(bytes(32)).decode()}))
    delivery_worker._deliveries = without.stores.deliveries
    run_due(delivery_worker)
    found = stores.deliveries.get("t", deliveries_of()[0].id)
    assert found is not None
    (attempt,) = found[1]
    assert (found[0].state, attempt["verdict"]) == (DeliveryState.PENDING, "retry")
    assert "operator" in attempt["error"]
    assert receiver.callbacks == []
    delivery_worker._deliveries = stores.deliveries
    clock.now += 5.5 * SECOND
    run_due(delivery_worker)
    assert receiver.callbacks[0].verified_by(OLD)
    without.stores.redis.close()
