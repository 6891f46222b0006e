"""Secrets of registrations: encrypted, changed, encrypted again with a new key."""

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import load
from app.domain.errors import OperatorError
from app.domain.job import Job, JobState
from app.store.encryption.cipher import key_of
from app.store.encryption.reencrypt import Reencryption
from app.store.engine import keys
from app.store.idempotency import Idempotency, Repeated
from tests.support.claims import claim_due, mark_answered

HOUR = timedelta(hours=1)
HEADERS = {"Authorization": "Bearer k3y", "X-Room": "ops"}
OLD_KEY, NEW_KEY = (f"{id}:{base64.b64encode(id.encode()[:1] * 32).decode()}" for id in ("old", "new"))


@pytest.fixture
def make_runtime(environment: dict[str, str], runtime: Runtime) -> Iterator[Callable[..., Runtime]]:
    """Makes a runtime with these keys, on the Redis that `runtime` has emptied."""
    runtimes: list[Runtime] = []

    def make(*secret_keys: str) -> Runtime:
        runtimes.append(Runtime(load(environment | {"BRIDGE_SECRET_KEYS": ",".join(secret_keys)})))
        return runtimes[-1]

    yield make
    for each in runtimes:
        each.stores.redis.close()


def test_headers_and_earlier_secrets_come_back_as_they_were(stores: Stores, registration, now: datetime) -> None:
    made = registration(headers=HEADERS)
    stores.registrations.add(made)
    rotated = stores.registrations.change("t", made.id, lambda found: found.rotated("whsec_new", now, HOUR))
    found = stores.registrations.get("t", made.id)
    assert found is not None
    assert found[0] == made.rotated("whsec_new", now, HOUR)
    assert rotated == replace(found[0], job_ids=())


def test_headers_and_secrets_are_encrypted(stores: Stores, registration, now: datetime) -> None:
    made = registration(headers=HEADERS)
    stores.registrations.add(made)
    stores.registrations.change("t", made.id, lambda found: found.rotated("whsec_canary", now, HOUR))
    record = stores.redis.get(keys.registration(made.id))
    for secret in ("k3y", "canary", made.secret.removeprefix("whsec_")):
        assert secret not in record


def test_of_rotations_at_the_same_time_none_is_lost(stores: Stores, registration, now: datetime) -> None:
    made = registration()
    stores.registrations.add(made)

    def rotate(number: int) -> None:
        stores.registrations.change("t", made.id, lambda found: found.rotated(f"whsec_{number}", now, HOUR))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(rotate, range(4)))
    found = stores.registrations.get("t", made.id)
    assert found is not None
    assert set(found[0].secrets_at(now)) == {made.secret, *(f"whsec_{number}" for number in range(4))}


def test_of_the_same_rotation_sent_twice_at_once_one_counts(stores: Stores, registration, now: datetime) -> None:
    def rotate(made, secret: str) -> Repeated | str:
        key = Idempotency(made.id, "request", secret)
        answer = stores.registrations.change("t", made.id, lambda found: found.rotated(secret, now, HOUR), key)
        assert answer is not None
        return answer if isinstance(answer, Repeated) else answer.secret

    with ThreadPoolExecutor(2) as pool:
        for _ in range(50):
            made = registration()
            stores.registrations.add(made)
            one, other = pool.map(rotate, [made] * 2, ["whsec_1", "whsec_2"])
            first, repeated = (one, other) if isinstance(other, Repeated) else (other, one)
            assert repeated == Repeated(first)
            found = stores.registrations.get("t", made.id)
            assert found is not None
            assert found[0].secrets_at(now) == (first, made.secret)


def test_a_rotation_lengthens_no_life(stores: Stores, registration, now: datetime) -> None:
    made = registration()
    stores.registrations.add(made)
    stores.redis.expire(keys.registration(made.id), 100)
    stores.registrations.change("t", made.id, lambda found: found.rotated("whsec_new", now, HOUR))
    assert 0 < stores.redis.ttl(keys.registration(made.id)) <= 100


def test_what_is_encrypted_for_one_registration_is_not_decrypted_for_another(stores: Stores, registration) -> None:
    mine, other = registration(), registration()
    for each in (mine, other):
        stores.registrations.add(each)
    stores.redis.set(keys.registration(mine.id), stores.redis.get(keys.registration(other.id)))
    known = stores.registrations.get("t", mine.id)
    assert known
    assert (known[0].callback_url, known[0].secret, known[1].decrypted) == (mine.destination, "", False)
    with pytest.raises(OperatorError):
        stores.registrations.change("t", mine.id, lambda found: found)


def test_a_key_at_rest_is_rotated_and_everything_still_delivers(make_runtime, registration, now: datetime) -> None:
    before = make_runtime(OLD_KEY).stores
    made = [registration(headers=HEADERS) for _ in range(1_200)]  # several pages
    for each in made:
        before.registrations.add(each, Idempotency(each.id, "request", each.secret))
    before.redis.expire(keys.registration(made[0].id), 100)

    during = make_runtime(NEW_KEY, OLD_KEY).stores
    found = during.registrations.get("t", made[0].id)
    assert found is not None
    assert found[0] == made[0]
    reencryption = Reencryption(during.scripts, during.cipher)
    assert len(list(reencryption.pages())) > 2
    assert (reencryption.seen, reencryption.rewritten, reencryption.undecryptable) == (2_400, 2_400, {})
    again = Reencryption(during.scripts, during.cipher)
    assert [*again.pages(), again.rewritten][-1] == 0
    assert 0 < during.redis.ttl(keys.registration(made[0].id)) <= 100
    assert during.redis.ttl(keys.registration(made[1].id)) == -1

    after = make_runtime(NEW_KEY).stores
    (item,) = claim_due(after.polls_due, now, 1)
    after.scripts.run(after.watches.complete(item, Job(item.id, JobState.SUCCEEDED), now))
    mark_answered(after.redis)
    claimed = claim_due(after.deliveries_due, now, 16)
    decrypted = [after.deliveries.decrypt(begun)[0] for begun in after.deliveries.begin(claimed, now + HOUR)]
    assert [each.headers for each in decrypted] == [HEADERS] * 16
    repeated = after.registrations.add(made[7], Idempotency(made[7].id, "request", ""))
    assert repeated == Repeated(made[7].secret)


def test_what_is_encrypted_with_a_key_that_is_gone_is_left_and_counted(make_runtime, registration) -> None:
    make_runtime(OLD_KEY).stores.registrations.add(registration())
    runtime = make_runtime(NEW_KEY)
    reencryption = Reencryption(runtime.stores.scripts, runtime.stores.cipher)
    assert list(reencryption.pages())
    assert (reencryption.seen, reencryption.rewritten, reencryption.undecryptable) == (1, 0, {"old": 1})


def test_what_was_unencrypted_is_encrypted_once_there_is_a_key(make_runtime, registration) -> None:
    made = registration()
    make_runtime("").stores.registrations.add(made, Idempotency("key", "request", "whsec_canary"))
    runtime = make_runtime(NEW_KEY)
    assert list(Reencryption(runtime.stores.scripts, runtime.stores.cipher).pages())
    assert key_of(runtime.stores.redis.get(keys.idempotency("t", "key"))) == "new"
    assert "secret-path" not in runtime.stores.redis.get(keys.registration(made.id))
    assert runtime.stores.registrations.get("t", made.id) is not None


def test_a_secret_that_changes_during_the_walk_is_not_put_back(make_runtime, registration, now: datetime) -> None:
    made = registration()
    make_runtime(OLD_KEY).stores.registrations.add(made)
    runtime = make_runtime(NEW_KEY, OLD_KEY)
    reencryption = Reencryption(runtime.stores.scripts, runtime.stores.cipher)
    (call,) = reencryption._registrations([keys.registration(made.id)])
    runtime.stores.registrations.change("t", made.id, lambda found: found.rotated("whsec_new", now, HOUR))
    assert runtime.stores.scripts.run(call) == 0
    found = runtime.stores.registrations.get("t", made.id)
    assert found is not None
    assert found[0].secret == "whsec_new"
