"""What jobs print, receivers answer and links show: encrypted in Redis, readable with the key, null without it."""

import base64
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import load
from app.domain.delivery import NextStep
from app.domain.destination import AttemptSignal
from app.domain.errors import OperatorError
from app.domain.job import Job, JobState
from app.domain.registration import Notify
from app.domain.verdict import Verdict
from app.store.destinations import SignalReport
from app.store.encryption.cipher import UNENCRYPTED
from app.store.encryption.reencrypt import Reencryption
from app.store.encryption.sealed_values import PREFIX
from app.store.engine import keys
from tests.support.claims import claim_due

MINUTE = timedelta(minutes=1)
OLD, NEW = (f"{id}:{base64.b64encode(id.encode()[:1] * 32).decode()}" for id in ("old", "new"))
OUTPUT, EARLIER, ANSWER, MESSAGE = "canary-output", "canary-earlier", "canary-answer", "canary-message"
LINK = "https://console.example/canary-link/{job_id}"
LINE = {"number": 1, "service_message": MESSAGE, "response_excerpt": ANSWER, "error": None}
Make = Callable[..., Runtime]


@pytest.fixture
def make_runtime(environment: dict[str, str], runtime: Runtime) -> Iterator[Make]:
    """Makes a runtime with these keys, on the Redis that `runtime` has emptied."""
    runtimes: list[Runtime] = []

    def make(*secret_keys: str) -> Runtime:
        runtimes.append(Runtime(load(environment | {"BRIDGE_SECRET_KEYS": ",".join(secret_keys)})))
        return runtimes[-1]

    yield make
    for each in runtimes:
        each.stores.redis.close()


def fill(runtime: Runtime, registration: Any, now: datetime) -> str:
    """Stores every kind of text: a registration with a link whose jobs end, and an attempt that failed.

    Returns the id of the registration.
    """
    stores = runtime.stores
    earlier = Job("job-0", JobState.FAILED, execute_msg=EARLIER)
    made = registration("job-1", link=LINK, ended=(earlier,), notify=Notify.BOTH)
    stores.registrations.add(made)
    (poll,) = claim_due(stores.polls_due, now, 9)
    stores.scripts.run(stores.watches.complete(poll, Job("job-1", JobState.FAILED, execute_msg=OUTPUT), now))
    (claimed,) = claim_due(stores.deliveries_due, now, 9)
    stores.deliveries.begin([claimed], now + MINUTE)
    signal = runtime.destinations.report(claimed.lane, AttemptSignal(available=False), MESSAGE, now)
    report = SignalReport(signal, now, lambda _: None)
    step = NextStep("pending", now + MINUTE)
    stores.scripts.run(stores.deliveries.record(claimed, Verdict.RETRY, step, LINE, report))
    return str(made.id)


def stored(stores: Stores) -> str:
    """Every key in Redis with its value."""
    read = {
        "string": stores.redis.get,
        "hash": stores.redis.hgetall,
        "list": lambda key: stores.redis.lrange(key, 0, -1),
    }
    return "\n".join(f"{key} {read.get(stores.redis.type(key), str)(key)}" for key in stores.redis.scan_iter())


def shown(runtime: Runtime, id: str) -> dict[str, Any]:
    """The texts, as the API shows them."""
    stores = runtime.stores
    registration, _ = stores.registrations.get("t", id) or (None, None)
    jobs = {job: stores.jobs.get("t", "default", job) for job in ("job-0", "job-1")}
    deliveries, _ = stores.deliveries.page(
        "t", limit=9, cursor=None, since=None, until=None, wanted=lambda each: each.attempts > 0
    )
    _, (line,) = stores.deliveries.get("t", deliveries[0].id) or (None, [{}])
    (destination,), _ = runtime.destinations.page("t", limit=9, cursor=None)
    return {
        "link": registration and registration.link,
        "ended": registration and registration.ended[0].execute_msg,
        **{name: known and known.job.execute_msg for name, known in jobs.items()},
        "answer": line["response_excerpt"],
        "message": line["service_message"],
        "failure": destination.failure,
    }


ALL = {
    **{"link": LINK, "ended": EARLIER, "job-0": EARLIER, "job-1": OUTPUT},
    **{"answer": ANSWER, "message": MESSAGE, "failure": MESSAGE},
}


def reported(runtime: Runtime) -> set[str | None]:
    """The output in the events of the feed."""
    feed, _ = runtime.stores.events.read_after("t", "0-0", 9)
    return {getattr(entry.event.about, "execute_msg", None) for entry in feed}


def test_they_are_encrypted_and_come_back(make_runtime: Make, registration: Any, now: datetime) -> None:
    runtime = make_runtime(NEW)
    id = fill(runtime, registration, now)
    assert "canary" not in stored(runtime.stores)
    assert shown(runtime, id) == ALL
    assert reported(runtime) == {EARLIER, OUTPUT, None}  # None: of the summary


def test_a_summary_stores_no_output(make_runtime: Make, registration: Any, now: datetime) -> None:
    runtime = make_runtime(NEW)
    runtime.stores.registrations.add(registration("job-1", "job-2", notify=Notify.ALL))
    poll, _ = claim_due(runtime.stores.polls_due, now, 9)
    runtime.stores.scripts.run(
        runtime.stores.watches.complete(poll, Job(poll.id, JobState.FAILED, execute_msg=OUTPUT), now)
    )
    ((key, summary),) = [(key, runtime.stores.redis.hgetall(key)) for key in runtime.stores.redis.scan_iter("*:ends")]
    assert key
    assert "execute_msg" not in str(summary)


def test_a_list_of_a_request_stores_them_encrypted_too(make_runtime: Make, registration: Any, now: datetime) -> None:
    runtime = make_runtime(NEW)
    stores = runtime.stores
    stores.registrations.add(registration("job-1", request_id="req-1"))
    (item,) = claim_due(stores.polls_due, now, 9)
    (request,) = stores.requests.load([item])
    ended = [Job("job-1", JobState.FAILED, execute_msg=OUTPUT)]
    stores.scripts.run(stores.requests.record_list((item, request), now, now + MINUTE, running=(), ended=ended))
    assert "canary" not in stored(stores)
    begun = stores.deliveries.begin(claim_due(stores.deliveries_due, now, 9), now + MINUTE)
    assert [stores.deliveries.decrypt(each)[1].about for each in begun] == ended


def test_without_the_key_they_are_null_and_no_event_is_shown_without_them(
    make_runtime: Make, registration: Any, now: datetime
) -> None:
    id = fill(make_runtime(OLD), registration, now)
    runtime = make_runtime(NEW)
    assert set(shown(runtime, id).values()) == {None}
    with pytest.raises(OperatorError, match="add it again"):
        reported(runtime)
    assert shown(make_runtime(NEW, OLD), id) == ALL


def test_a_deployment_without_keys_stores_them_as_earlier_versions_did(
    make_runtime: Make, registration: Any, now: datetime
) -> None:
    id = fill(make_runtime(""), registration, now)
    assert PREFIX not in stored(make_runtime("").stores)
    assert shown(make_runtime(""), id) == ALL
    runtime = make_runtime(NEW)  # reads what was not encrypted
    assert shown(runtime, id) == ALL
    assert reported(runtime) == {EARLIER, OUTPUT, None}


@pytest.mark.parametrize("before", [OLD, ""])
def test_reseal_encrypts_all_of_them_with_the_first_key(
    make_runtime: Make, registration: Any, now: datetime, before: str
) -> None:
    id = fill(make_runtime(before), registration, now)
    runtime = make_runtime(*filter(None, (NEW, before)))
    runtime.stores.redis.expire(keys.watch("default", "job-1"), 100)
    walk = Reencryption(runtime.stores.scripts, runtime.stores.cipher)
    assert list(walk.pages())
    assert walk.undecryptable == {}
    # Of the registration: secrets, link, ended job; two deliveries, two texts of the attempt, a watch, a destination.
    assert walk.seen == 3 + 2 + 2 + 1 + 1
    again = Reencryption(runtime.stores.scripts, runtime.stores.cipher)
    assert [*again.pages(), again.rewritten][-1] == 0
    assert 0 < runtime.stores.redis.ttl(keys.watch("default", "job-1")) <= 100
    assert "canary" not in stored(runtime.stores)
    assert "old." not in stored(runtime.stores)
    assert f"{UNENCRYPTED}." not in stored(runtime.stores)
    alone = make_runtime(NEW)
    assert shown(alone, id) == ALL
    assert reported(alone) == {EARLIER, OUTPUT, None}


def test_what_changes_during_the_walk_is_not_put_back(make_runtime: Make, registration: Any, now: datetime) -> None:
    fill(make_runtime(OLD), registration, now)
    stores = make_runtime(NEW, OLD).stores
    walk = Reencryption(stores.scripts, stores.cipher)
    (failure,) = walk._lanes([keys.lane("deliver", "t https://bot.example:443")])
    stores.redis.hset(keys.lane("deliver", "t https://bot.example:443"), "failure", "newer")
    lines = [
        call for call in walk._deliveries(list(stores.redis.scan_iter("cph:dlv:*"))) if call.script == "replace_entry"
    ]
    stores.redis.delete(*stores.redis.scan_iter("cph:dlv:*:attempts"))
    assert lines
    assert stores.scripts.run_all([failure, *lines]) == [0] * (1 + len(lines))
