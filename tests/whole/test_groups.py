"""All jobs of a CPH request, on the whole path, with workers that are killed."""

import random
from uuid import uuid4

import pytest

from app.devkit.processes import wait_until
from tests.whole.conftest import Whole

JOBS, REQUESTS = 10_000, 100


def request(whole: Whole, count: int, **script) -> tuple[str, set[str]]:
    """Id of a request, and those of its jobs."""
    request_id = uuid4().hex
    made = whole.standin.call("POST", "/_standin/jobs", [{"request_id": request_id} | script] * count)
    return request_id, {job["job_id"] for job in made["jobs"]}


def summaries(whole: Whole) -> dict[str, set[str]]:
    """Which jobs each event told of."""
    return {
        callback.event["id"]: {job["job_id"] for job in callback.event["data"]["jobs"]}
        for callback in whole.receiver.callbacks
        if callback.event["type"] == "group.finished"
    }


@pytest.mark.slow
@pytest.mark.parametrize("by", ["request_id", "job_ids"])
@pytest.mark.parametrize("step", ["poll.claimed", "poll.ended", "poll.recorded"])
def test_a_poll_worker_killed_at_any_step_costs_a_group_nothing(whole, step: str, by: str) -> None:
    """Twice in a row: the second is killed at the same step of what the first has left."""
    whole.start_worker("deliver")
    request_id, jobs = request(whole, 3, duration_s=0)
    target = {"request_id": request_id} if by == "request_id" else {"job_ids": sorted(jobs)}
    doomed = whole.start_worker("poll", BRIDGE_TEST_CRASH_AT=step)
    registration = whole.register(**target, notify="all")
    wait_until(lambda: doomed.exit_code is not None, what="the worker killed")
    assert doomed.exit_code == -9
    if step != "poll.recorded":  # else nothing may be left
        again = whole.start_worker("poll", BRIDGE_TEST_CRASH_AT=step)
        wait_until(lambda: again.exit_code is not None, what="the second worker killed")
    whole.start_worker("poll")
    whole.wait_until_delivered(registration)
    assert list(summaries(whole).values()) == [jobs]
    assert whole.one_event_each()


@pytest.mark.slow
def test_a_group_that_has_finished_is_told_whoever_is_killed_then(whole) -> None:
    poller = whole.start_worker("poll")
    request_id, jobs = request(whole, 3, duration_s=0)
    registration = whole.register(request_id=request_id, notify="all")
    wait_until(lambda: whole.look(registration)["state"] == "finished", what="the end of all jobs")
    poller.kill()
    whole.start_worker("poll")
    doomed = whole.start_worker("deliver", BRIDGE_TEST_CRASH_AT="deliver.after_post")
    wait_until(lambda: doomed.exit_code is not None, what="the worker killed")
    whole.start_worker("deliver")
    whole.wait_until_delivered(registration)
    assert list(summaries(whole).values()) == [jobs]
    assert whole.one_event_each()


@pytest.mark.slow
def test_two_workers_that_finish_jobs_of_the_same_groups_tell_of_each_once(workers) -> None:
    workers.start_worker("poll")
    groups = [[workers.job(duration_s=2 + number / 20) for _ in range(2)] for number in range(50)]
    registrations = [workers.register(job_ids=jobs, notify="all") for jobs in groups]
    workers.wait_until_delivered(*registrations)
    assert sorted(map(sorted, summaries(workers).values())) == sorted(map(sorted, groups))
    assert set(workers.receiver.ids().values()) == {1}


@pytest.mark.slow
def test_ten_thousand_jobs_of_a_hundred_requests_are_each_told_once_for_few_calls(workers) -> None:
    chance = random.Random(17)
    ids = [uuid4().hex for _ in range(REQUESTS)]
    scripts = [{"request_id": ids[number % REQUESTS], "duration_s": chance.uniform(5, 30)} for number in range(JOBS)]
    made = workers.standin.call("POST", "/_standin/jobs", scripts)["jobs"]
    calls_before, looks_before = workers.calls(), workers.looks()
    registrations = [workers.register(request_id=id, notify="both") for id in ids]
    workers.receiver.wait_for(JOBS + REQUESTS, timeout=180)
    calls, looks = workers.calls() - calls_before, workers.looks() - looks_before
    ends = [each.event for each in workers.receiver.callbacks if each.event["type"] == "job.succeeded"]
    assert sorted(event["data"]["job"]["job_id"] for event in ends) == sorted(job["job_id"] for job in made)
    assert sorted(map(len, summaries(workers).values())) == [JOBS // REQUESTS] * REQUESTS
    assert set(workers.receiver.ids().values()) == {1}
    assert all(workers.look(registration)["state"] == "finished" for registration in registrations)
    print(f"{calls:,} calls to CPH looked at a job {looks:,} times: one call for each would have been as many")
    assert calls < looks / 20
