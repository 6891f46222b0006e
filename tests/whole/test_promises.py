"""What reliability promises, seen from outside, by a receiver of the tests' own.

That no secret gets out is in test_secrets_stay_secret.py; what else is survived, in test_faults.py.
"""

import os
import random
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.devkit.client import ApiRefused, BridgeClient
from app.devkit.processes import Process, wait_until

pytestmark = pytest.mark.slow  # processes start, and die

# As conftest.py has them.
LEASE_S = 3
LONGEST_WAIT_S = 1.1
CANCELS = 1_000
MOST_FILES = 8  # a connection for each thread, of which some had ended when they were counted
MOST_GROWTH = 4 << 20  # 2 KiB for each of 2,000 callbacks


@pytest.mark.parametrize(
    ("kind", "point", "before", "in_all"),
    [
        pytest.param("poll", "poll.claimed", 0, 1, marks=pytest.mark.slow),
        ("poll", "poll.ended", 0, 1),
        pytest.param("deliver", "deliver.claimed", 0, 1, marks=pytest.mark.slow),
        ("deliver", "deliver.before_post", 0, 1),
        ("deliver", "deliver.after_post", 1, 2),
        pytest.param("deliver", "deliver.recorded", 1, 1, marks=pytest.mark.slow),
        pytest.param("poll", "poll.recorded", 0, 1, marks=pytest.mark.slow),
    ],
)
def test_a_worker_killed_at_any_point_of_its_work_loses_nothing_and_changes_nothing(
    whole, kind: str, point: str, before: int, in_all: int
) -> None:
    """Promises 1 and 2. Only after the POST, and before it is recorded, must it be repeated."""
    if kind == "deliver":
        whole.start_worker("poll")
    doomed = whole.start_worker(kind, BRIDGE_TEST_CRASH_AT=point)
    registration = whole.register(whole.job())
    wait_until(lambda: doomed.exit_code is not None, what="the worker killed")
    assert doomed.exit_code == -9
    assert len(whole.receiver.callbacks) == before
    whole.start_worker(kind)
    if kind == "poll":
        whole.start_worker("deliver")  # not before: it would be too quick for the look above
    whole.wait_until_delivered(registration)
    assert list(whole.receiver.ids().values()) == [in_all]
    assert whole.one_event_each()


@pytest.mark.slow
def test_workers_that_stand_still_for_twice_a_lease_do_no_harm(whole) -> None:
    """Promises 1 to 3. Others take over meanwhile, and some registrations are cancelled."""
    whole.receiver.statuses = [(503, {}), (200, {})] * 30  # never so many in a row that the breaker opens
    stalled = [whole.start_worker(kind) for kind in ("poll", "deliver")]
    registrations = [whole.register(whole.job(duration_s=number / 20)) for number in range(60)]
    whole.receiver.wait_for(10)
    for worker in stalled:
        whole.freeze(worker)
    for kind in ("poll", "deliver"):
        whole.start_worker(kind)
    time.sleep(LEASE_S)
    kept, cancelled = registrations[::2], registrations[1::2]
    for registration in cancelled:
        whole.bridge.call("DELETE", f"/v1/registrations/{registration['id']}")
    answered = len(whole.receiver.callbacks)
    time.sleep(LEASE_S)
    for worker in stalled:
        whole.thaw(worker)
    kept.append(whole.register(whole.job(duration_s=1)))
    whole.wait_until_delivered(*kept)
    assert whole.one_event_each()
    assert told_of(whole, answered).isdisjoint(each["id"] for each in cancelled)


@pytest.mark.slow
def test_no_attempt_begins_after_a_cancel_is_answered(workers) -> None:
    """Promise 3. Each is cancelled at a moment of its own while it is tried over and over."""
    workers.start_worker("deliver")
    workers.receiver.statuses = [(404, {})] * 100_000  # no breaker opens for it: the attempts go on
    chance = random.Random(7)
    answered: dict[str, int] = {}

    def cancel_at_some_moment(_: int) -> None:
        id = workers.register(workers.job())["id"]
        time.sleep(chance.uniform(0, 1))
        workers.bridge.call("DELETE", f"/v1/registrations/{id}")
        answered[id] = len(workers.receiver.callbacks)

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(cancel_at_some_moment, range(CANCELS)))
    tried = told_of(workers, 0)
    time.sleep(LONGEST_WAIT_S)  # for what is not cancelled would be tried again by then
    late = [id for id, seen in answered.items() if id in told_of(workers, seen)]
    assert late == []
    assert len(tried & answered.keys()) > CANCELS / 10, "hardly any of them was tried before its cancel"


def test_no_tenant_sees_or_touches_what_is_anothers(workers) -> None:
    """Promise 4. For another tenant it is as if nothing were there."""
    other = workers.as_tenant("other")
    ours = workers.register(workers.job())
    workers.wait_until_delivered(ours)
    delivery = workers.bridge.call("GET", "/v1/deliveries")["items"][0]["id"]
    assert [other.call("GET", path)["items"] for path in ("/v1/registrations", "/v1/deliveries")] == [[], []]
    for method, path, body in (
        ("GET", f"/v1/registrations/{ours['id']}", None),
        ("DELETE", f"/v1/registrations/{ours['id']}", None),
        ("POST", f"/v1/registrations/{ours['id']}/rotate-secret", {}),
        ("GET", f"/v1/deliveries/{delivery}", None),
        ("POST", f"/v1/deliveries/{delivery}/redeliver", None),
    ):
        assert refused(other, method, path, body) == 404
    assert other.call("GET", f"/v1/deliveries?registration_id={ours['id']}")["items"] == []
    assert other.call("POST", "/v1/deliveries/redeliver", {"state": "dead"}) == {"count": 0}
    assert workers.look(ours)["state"] == "finished"


def test_the_same_job_tells_each_tenant_of_its_own_registration_alone(workers) -> None:
    """Promise 4."""
    other, job_id = workers.as_tenant("other"), workers.job(duration_s=1)
    theirs_body = {"job_id": job_id, "callback_url": f"{workers.receiver.url}/theirs", "metadata": {"who": "them"}}
    ours, theirs = workers.register(job_id), other.call("POST", "/v1/registrations", theirs_body)
    workers.receiver.wait_for(2)
    told = {callback.path[-6:]: callback for callback in workers.receiver.callbacks}
    assert told["theirs"].event["data"]["registration_id"] == theirs["id"]
    assert told["theirs"].verified_by(theirs["secret"])
    assert told["t-path"].event["data"]["registration_id"] == ours["id"]
    assert told["t-path"].event["data"]["metadata"] == {}
    assert told["t-path"].verified_by(workers.bridge.secret)


@pytest.mark.slow
def test_at_rest_the_api_says_what_the_receiver_saw(whole) -> None:
    """Promise 6, and 2. Receivers fail in every way on the path; each attempt is in the log with its answer."""
    workers = whole
    workers.start_worker("poll")
    workers.start_worker("deliver", BRIDGE_DESTINATION_RATE="0")  # else each 429 halves it, down to one a second
    given = random.Random(3).choices([200, 500, 404, 429, 302, 404], k=200)
    workers.receiver.statuses = [(status, {}) for status in given]
    registrations = [workers.register(workers.job()) for _ in range(60)]

    def at_rest(registration: dict) -> bool:
        seen = workers.look(registration)
        return seen["state"] == "finished" and not seen["deliveries"]["pending"]

    wait_until(lambda: all(map(at_rest, registrations)), what="rest")
    assert workers.one_event_each()
    saw: dict[str, list[int]] = defaultdict(list)
    answers = [*given, *[200] * len(workers.receiver.callbacks)]
    for callback, status in zip(workers.receiver.callbacks, answers, strict=False):
        saw[callback.id].append(status)
    deliveries = [
        shown(workers, each["id"]) for each in workers.bridge.call("GET", "/v1/deliveries?limit=200")["items"]
    ]
    assert {each["event_id"]: [attempt["status_code"] for attempt in each["attempts"]] for each in deliveries} == saw
    for each in deliveries:
        assert each["attempt_count"] == len(each["attempts"])
        assert each["state"] == ("delivered" if saw[each["event_id"]][-1] == 200 else "dead")
    assert {each["state"] for each in deliveries} == {"delivered", "dead"}


@pytest.mark.slow
def test_open_files_and_memory_of_the_workers_go_back_to_where_they_were(whole) -> None:
    """Promise 6. What a process grows by in the beginning (connections, threads, code) is there before it counts."""
    processes = [whole.start_worker(kind) for kind in ("poll", "deliver")]
    tell_of(whole, 1_000)
    before = [held_by(process) for process in processes]
    for _ in range(2):
        tell_of(whole, 1_000)
    after = [held_by(process) for process in processes]
    for (files, memory), (files_then, memory_then) in zip(after, before, strict=True):
        assert files - files_then <= MOST_FILES
        assert memory - memory_then < MOST_GROWTH


def told_of(whole: Any, since: int) -> set[str]:
    """Ids of the registrations that the receiver was told of, from that callback on."""
    return {callback.event["data"]["registration_id"] for callback in whole.receiver.callbacks[since:]}


def refused(client: BridgeClient, method: str, path: str, body: Any) -> int:
    with pytest.raises(ApiRefused) as caught:
        client.call(method, path, body)
    return caught.value.status


def shown(whole: Any, delivery: str) -> dict[str, Any]:
    found: dict[str, Any] = whole.bridge.call("GET", f"/v1/deliveries/{delivery}")
    return found


def tell_of(whole: Any, jobs: int) -> None:
    """So many callbacks, until nothing is left to do."""
    made = whole.standin.call("POST", "/_standin/jobs", [{"duration_s": 0}] * jobs)["jobs"]
    registration = whole.register(job_ids=[job["job_id"] for job in made])
    wait_until(lambda: whole.look(registration)["deliveries"]["delivered"] == jobs, timeout=90, what="all delivered")


def held_by(process: Process) -> tuple[int, int]:
    """By a worker and its dispatcher: how many open files, how many bytes of memory."""
    pids = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit() and group_of(entry) == process.pid]
    assert len(pids) >= 2
    files = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) for pid in pids)
    return files, pages * os.sysconf("SC_PAGE_SIZE")


def group_of(entry: Path) -> int:
    try:
        return os.getpgid(int(entry.name))
    except ProcessLookupError:  # it has ended since it was listed
        return 0
