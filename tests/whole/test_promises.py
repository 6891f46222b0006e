"""The promises of reliability, checked by a receiver outside the bridge.

test_secrets_stay_secret.py checks that no secret leaks, tests/faults has further faults.
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

pytestmark = pytest.mark.slow  # starts and kills processes

# The values of QUICK in conftest.py.
LONGEST_RETRY_WAIT_S = 1.1
CANCELS = 1_000
MAX_FILE_GROWTH = 8  # a connection for each thread: some may have been closed at the first count
MAX_MEMORY_GROWTH = 4 << 20  # 2 KiB for each of 2,000 callbacks


@pytest.mark.parametrize(
    ("kind", "point", "before", "total"),
    [
        pytest.param("poll", "poll.claimed", 0, 1, marks=pytest.mark.one_by_one),
        ("poll", "poll.ended", 0, 1),
        pytest.param("deliver", "deliver.claimed", 0, 1, marks=pytest.mark.one_by_one),
        ("deliver", "deliver.before_post", 0, 1),
        ("deliver", "deliver.after_post", 1, 2),
        pytest.param("deliver", "deliver.recorded", 1, 1, marks=pytest.mark.one_by_one),
        pytest.param("poll", "poll.recorded", 0, 1, marks=pytest.mark.one_by_one),
    ],
)
def test_a_worker_killed_at_any_point_of_its_work_loses_nothing_and_changes_nothing(
    deployment, kind: str, point: str, before: int, total: int
) -> None:
    """Promises 1 and 2. The attempt is repeated only if the worker was killed between the POST and its record."""
    if kind == "deliver":
        deployment.start_worker("poll")
    crashing_worker = deployment.start_worker(kind, BRIDGE_TEST_CRASH_AT=point)
    registration = deployment.register(deployment.job())
    wait_until(lambda: crashing_worker.exit_code is not None, what="the worker killed")
    assert crashing_worker.exit_code == -9
    assert len(deployment.receiver.callbacks) == before
    deployment.start_worker(kind)
    if kind == "poll":
        deployment.start_worker("deliver")  # not earlier: it could deliver before the count above
    deployment.wait_until_delivered(registration)
    assert list(deployment.receiver.ids().values()) == [total]
    assert deployment.receiver.one_event_each()


def test_no_attempt_begins_after_a_cancel_is_answered(running_deployment) -> None:
    """Promise 3. Each registration is cancelled at a random moment while its delivery is attempted again and again."""
    running_deployment.start_worker("deliver")
    running_deployment.receiver.statuses = [(404, {})] * 100_000  # a 404 opens no breaker: the attempts go on
    rng = random.Random(7)
    callbacks_at_cancel: dict[str, int] = {}

    def cancel_at_random_moment(_: int) -> None:
        id = running_deployment.register(running_deployment.job())["id"]
        time.sleep(rng.uniform(0, 1))
        running_deployment.bridge.call("DELETE", f"/v1/registrations/{id}")
        callbacks_at_cancel[id] = len(running_deployment.receiver.callbacks)

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(cancel_at_random_moment, range(CANCELS)))
    attempted = notified_registrations(running_deployment, 0)
    time.sleep(LONGEST_RETRY_WAIT_S)  # a delivery that is not cancelled would be attempted again by then
    late = [id for id, count in callbacks_at_cancel.items() if id in notified_registrations(running_deployment, count)]
    assert late == []
    assert len(attempted & callbacks_at_cancel.keys()) > CANCELS / 10, (
        "too few deliveries were attempted before their cancel"
    )


def test_no_tenant_sees_or_touches_what_is_anothers(running_deployment) -> None:
    """Promise 4. Another tenant gets 404 and empty lists."""
    other = running_deployment.as_tenant("other")
    ours = running_deployment.register(running_deployment.job())
    running_deployment.wait_until_delivered(ours)
    delivery = running_deployment.bridge.call("GET", "/v1/deliveries")["items"][0]["id"]
    assert [other.call("GET", path)["items"] for path in ("/v1/registrations", "/v1/deliveries")] == [[], []]
    for method, path, body in (
        ("GET", f"/v1/registrations/{ours['id']}", None),
        ("DELETE", f"/v1/registrations/{ours['id']}", None),
        ("POST", f"/v1/registrations/{ours['id']}/rotate-secret", {}),
        ("GET", f"/v1/deliveries/{delivery}", None),
        ("POST", f"/v1/deliveries/{delivery}/redeliver", None),
    ):
        assert refusal_status(other, method, path, body) == 404
    assert other.call("GET", f"/v1/deliveries?registration_id={ours['id']}")["items"] == []
    assert other.call("POST", "/v1/deliveries/redeliver", {"state": "dead"}) == {"count": 0}
    assert running_deployment.get_registration(ours)["state"] == "finished"


def test_the_same_job_notifies_each_tenant_of_its_own_registration_alone(running_deployment) -> None:
    """Promise 4."""
    other, job_id = running_deployment.as_tenant("other"), running_deployment.job(duration_s=1)
    theirs_body = {
        "job_id": job_id,
        "callback_url": f"{running_deployment.receiver.url}/theirs",
        "metadata": {"who": "them"},
    }
    ours, theirs = running_deployment.register(job_id), other.call("POST", "/v1/registrations", theirs_body)
    running_deployment.receiver.wait_for(2)
    by_path = {callback.path[-6:]: callback for callback in running_deployment.receiver.callbacks}
    assert by_path["theirs"].event["data"]["registration_id"] == theirs["id"]
    assert by_path["theirs"].verified_by(theirs["secret"])
    assert by_path["t-path"].event["data"]["registration_id"] == ours["id"]
    assert by_path["t-path"].event["data"]["metadata"] == {}
    assert by_path["t-path"].verified_by(running_deployment.bridge.secret)


def test_at_rest_the_api_says_what_the_receiver_saw(deployment) -> None:
    """Promises 2 and 6. The receiver fails in several ways. The log has each attempt with its status."""
    deployment.start_worker("poll")
    deployment.start_worker(
        "deliver", BRIDGE_DESTINATION_RATE="0"
    )  # otherwise each 429 halves the rate, down to one a second
    statuses = random.Random(3).choices([200, 500, 404, 429, 302, 404], k=200)
    deployment.receiver.statuses = [(status, {}) for status in statuses]
    registrations = [deployment.register(deployment.job()) for _ in range(60)]

    def at_rest(registration: dict) -> bool:
        found = deployment.get_registration(registration)
        return found["state"] == "finished" and not found["deliveries"]["pending"]

    wait_until(lambda: all(map(at_rest, registrations)), what="no pending delivery")
    assert deployment.receiver.one_event_each()
    received: dict[str, list[int]] = defaultdict(list)
    answers = [*statuses, *[200] * len(deployment.receiver.callbacks)]
    for callback, status in zip(deployment.receiver.callbacks, answers, strict=False):
        received[callback.id].append(status)
    deliveries = [
        get_delivery(deployment, each["id"])
        for each in deployment.bridge.call("GET", "/v1/deliveries?limit=200")["items"]
    ]
    assert {
        each["event_id"]: [attempt["status_code"] for attempt in each["attempts"]] for each in deliveries
    } == received
    for each in deliveries:
        assert each["attempt_count"] == len(each["attempts"])
        assert each["state"] == ("delivered" if received[each["event_id"]][-1] == 200 else "dead")
    assert {each["state"] for each in deliveries} == {"delivered", "dead"}


def test_open_files_and_memory_of_the_workers_go_back_to_where_they_were(deployment) -> None:
    """Promise 6. The first callbacks are not counted: they open connections, start threads and load code."""
    processes = [deployment.start_worker(kind) for kind in ("poll", "deliver")]
    send_callbacks(deployment, 1_000)
    before = [files_and_memory(process) for process in processes]
    for _ in range(2):
        send_callbacks(deployment, 1_000)
    after = [files_and_memory(process) for process in processes]
    for (files, memory), (files_before, memory_before) in zip(after, before, strict=True):
        assert files - files_before <= MAX_FILE_GROWTH
        assert memory - memory_before < MAX_MEMORY_GROWTH


def notified_registrations(deployment: Any, since: int) -> set[str]:
    """Ids of the registrations whose callbacks arrived after the first `since` callbacks."""
    return {callback.event["data"]["registration_id"] for callback in deployment.receiver.callbacks[since:]}


def refusal_status(client: BridgeClient, method: str, path: str, body: Any) -> int:
    with pytest.raises(ApiRefused) as caught:
        client.call(method, path, body)
    return caught.value.status


def get_delivery(deployment: Any, delivery: str) -> dict[str, Any]:
    found: dict[str, Any] = deployment.bridge.call("GET", f"/v1/deliveries/{delivery}")
    return found


def send_callbacks(deployment: Any, jobs: int) -> None:
    """Waits until a callback is delivered for each of so many jobs."""
    made = deployment.standin.call("POST", "/_standin/jobs", [{"duration_s": 0}] * jobs)["jobs"]
    registration = deployment.register(job_ids=[job["job_id"] for job in made])
    wait_until(
        lambda: deployment.get_registration(registration)["deliveries"]["delivered"] == jobs,
        timeout=90,
        what="all delivered",
    )


def files_and_memory(process: Process) -> tuple[int, int]:
    """Open files and bytes of memory of a worker and its dispatcher."""
    pids = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit() and group_of(entry) == process.pid]
    assert len(pids) >= 2
    files = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) for pid in pids)
    return files, pages * os.sysconf("SC_PAGE_SIZE")


def group_of(entry: Path) -> int:
    try:
        return os.getpgid(int(entry.name))
    except ProcessLookupError:  # the process has ended since it was listed
        return 0
