"""Groups of jobs, with the processes of production, some of which are killed."""

import random
from uuid import uuid4

import pytest

from app.devkit.processes import wait_until
from tests.whole.conftest import Deployment

JOBS, REQUESTS = 10_000, 100


def create_request(deployment: Deployment, count: int, **script) -> tuple[str, set[str]]:
    """Creates a request at the stand-in. Returns its id and the ids of its jobs."""
    request_id = uuid4().hex
    made = deployment.standin.call("POST", "/_standin/jobs", [{"request_id": request_id} | script] * count)
    return request_id, {job["job_id"] for job in made["jobs"]}


def jobs_by_group_event(deployment: Deployment) -> dict[str, set[str]]:
    """The job ids of each group event, by event id."""
    return {
        callback.event["id"]: {job["job_id"] for job in callback.event["data"]["jobs"]}
        for callback in deployment.receiver.callbacks
        if callback.event["type"] == "group.finished"
    }


@pytest.mark.slow
@pytest.mark.parametrize("by", ["request_id", "job_ids"])
@pytest.mark.parametrize("step", ["poll.claimed", "poll.ended", "poll.recorded"])
def test_a_poll_worker_killed_at_any_step_costs_a_group_nothing(deployment, step: str, by: str) -> None:
    """A second worker continues the work and is killed at the same step."""
    deployment.start_worker("deliver")
    request_id, jobs = create_request(deployment, 3, duration_s=0)
    target = {"request_id": request_id} if by == "request_id" else {"job_ids": sorted(jobs)}
    crashing_worker = deployment.start_worker("poll", BRIDGE_TEST_CRASH_AT=step)
    registration = deployment.register(**target, notify="all")
    wait_until(lambda: crashing_worker.exit_code is not None, what="the worker killed")
    assert crashing_worker.exit_code == -9
    if step != "poll.recorded":  # after this step there may be no work left
        second_worker = deployment.start_worker("poll", BRIDGE_TEST_CRASH_AT=step)
        wait_until(lambda: second_worker.exit_code is not None, what="the second worker killed")
    deployment.start_worker("poll")
    deployment.wait_until_delivered(registration)
    assert list(jobs_by_group_event(deployment).values()) == [jobs]
    assert deployment.receiver.one_event_each()


@pytest.mark.slow
def test_a_group_that_has_finished_is_reported_whoever_is_killed_then(deployment) -> None:
    poller = deployment.start_worker("poll")
    request_id, jobs = create_request(deployment, 3, duration_s=0)
    registration = deployment.register(request_id=request_id, notify="all")
    wait_until(lambda: deployment.get_registration(registration)["state"] == "finished", what="the end of all jobs")
    poller.kill()
    deployment.start_worker("poll")
    crashing_worker = deployment.start_worker("deliver", BRIDGE_TEST_CRASH_AT="deliver.after_post")
    wait_until(lambda: crashing_worker.exit_code is not None, what="the worker killed")
    deployment.start_worker("deliver")
    deployment.wait_until_delivered(registration)
    assert list(jobs_by_group_event(deployment).values()) == [jobs]
    assert deployment.receiver.one_event_each()


@pytest.mark.slow
def test_two_workers_that_finish_jobs_of_the_same_groups_report_each_once(running_deployment) -> None:
    running_deployment.start_worker("poll")
    groups = [[running_deployment.job(duration_s=2 + number / 20) for _ in range(2)] for number in range(50)]
    registrations = [running_deployment.register(job_ids=jobs, notify="all") for jobs in groups]
    running_deployment.wait_until_delivered(*registrations)
    assert sorted(map(sorted, jobs_by_group_event(running_deployment).values())) == sorted(map(sorted, groups))
    assert set(running_deployment.receiver.ids().values()) == {1}


@pytest.mark.slow
def test_ten_thousand_jobs_of_a_hundred_requests_are_each_reported_once_for_few_calls(running_deployment) -> None:
    rng = random.Random(17)
    ids = [uuid4().hex for _ in range(REQUESTS)]
    scripts = [{"request_id": ids[number % REQUESTS], "duration_s": rng.uniform(5, 30)} for number in range(JOBS)]
    made = running_deployment.standin.call("POST", "/_standin/jobs", scripts)["jobs"]
    calls_before, poll_count_before = running_deployment.calls(), running_deployment.poll_count()
    registrations = [running_deployment.register(request_id=id, notify="both") for id in ids]
    running_deployment.receiver.wait_for(JOBS + REQUESTS, timeout=180)
    calls, poll_count = running_deployment.calls() - calls_before, running_deployment.poll_count() - poll_count_before
    ends = [each.event for each in running_deployment.receiver.callbacks if each.event["type"] == "job.succeeded"]
    assert sorted(event["data"]["job"]["job_id"] for event in ends) == sorted(job["job_id"] for job in made)
    assert sorted(map(len, jobs_by_group_event(running_deployment).values())) == [JOBS // REQUESTS] * REQUESTS
    assert set(running_deployment.receiver.ids().values()) == {1}
    assert all(
        running_deployment.get_registration(registration)["state"] == "finished" for registration in registrations
    )
    print(f"{calls:,} calls to CPH polled a job {poll_count:,} times: with ShowJob alone, that many calls")
    assert calls < poll_count / 20
