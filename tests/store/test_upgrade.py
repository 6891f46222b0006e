"""The stores of every later 0.x read and complete what 0.1.0 wrote: literals, which are never generated again.

Two versions that run side by side, and the rollback, are in tests/whole/test_rolling_upgrade.py.
"""

from datetime import datetime, timedelta
from typing import Any

from app.bootstrap.stores import Stores
from app.domain.job import Job, JobState
from app.domain.registration import RegistrationState
from tests.support.claims import claim_due

AT = 1_767_323_045_000  # ms, the `now` of the tests
LANE = "t https://bot.example:443"
ENDED, RUNNING = "reg_01kdyak3480000000000000000", "reg_01kdyak3480000000000000001"
DELIVERY = "dlv_01kdyak3487a7bf5beadc8252a"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RECORD = f"""{{"sealed":"open.[\\"{SECRET}\\",\\"https://bot.example/hooks/s\\"]","deadline":{AT + 7_200_000},\
"metadata":{{"room":"ops"}}}}"""
JOB = '{"job_id":"job-1","state":"succeeded","status":2,"request_id":null}'
SORTED_SETS: dict[str, Any] = {
    "cph:deadlines": {RUNNING: AT + 7_200_000},
    "cph:deliver:due:" + LANE: {DELIVERY: AT},
    "cph:deliver:lanes": {LANE: AT},
    "cph:dests:t": {"https://bot.example:443": AT},
    "cph:dlvs:t": {f"{AT}:{DELIVERY}": 0},
    "cph:poll:lanes": {"default": AT + 60_000},
    "cph:poll:leased:default": {"job-2": AT + 60_000},
    "cph:regs:t": {ENDED: 0, RUNNING: 0},
}
HASHES: dict[str, Any] = {
    f"cph:dlv:{DELIVERY}": {
        **{"created": AT, "end": "succeeded", "state": "pending", "next": AT, "registration": ENDED, "tenant": "t"},
        **{"lane": LANE, "job_id": "job-1", "about": JOB, "observed": AT, "attempts": 0},
    },
    f"cph:{ENDED}:progress": {
        **{"tenant": "t", "project": "default", "lane": LANE, "open": 0, "job:job-1": "succeeded", "pending": 1},
        "state": "finished",
    },
    f"cph:{RUNNING}:progress": {"tenant": "t", "project": "default", "lane": LANE, "open": 1, "job:job-2": ""},
    "cph:poll:lane:default": {"tokens": 8, "stamp": AT},
    "cph:watch:default:job-1": {ENDED: "", "state": "succeeded", "since": AT, "job": JOB, "observed": AT},
    "cph:watch:default:job-2": {RUNNING: "", "state": "pending", "since": AT},
}


def test_a_backlog_of_the_first_version_is_worked_off(stores: Stores, now: datetime) -> None:
    for key, scores in SORTED_SETS.items():
        stores.redis.zadd(key, scores)
    for key, fields in HASHES.items():
        stores.redis.hset(key, mapping=fields)
    for id in (ENDED, RUNNING):
        stores.redis.set(f"cph:{id}", RECORD)
    later = now + timedelta(minutes=2)

    (poll,) = claim_due(stores.polls_due, later, 9)
    assert poll.id == "job-2"
    (watch,) = stores.watches.load([poll], traced=True)
    assert watch
    assert watch.traceparents == ()
    assert stores.scripts.run(stores.watches.complete(poll, Job("job-2", JobState.FAILED), later)) == 1
    begun = stores.deliveries.begin(claim_due(stores.deliveries_due, later, 9), later + timedelta(seconds=9))
    decrypted = [stores.deliveries.decrypt(each) for each in begun]
    assert {(made.id, made.secret, made.callback_url, event.type) for made, event in decrypted} == {
        (ENDED, SECRET, "https://bot.example/hooks/s", "job.succeeded"),
        (RUNNING, SECRET, "https://bot.example/hooks/s", "job.failed"),
    }
    found, _ = stores.registrations.page("t", limit=9, cursor=None, wanted=lambda _: True)
    assert {progress.state for _, progress in found} == {RegistrationState.FINISHED}
    assert stores.registrations.cancel("t", ENDED) is not None
