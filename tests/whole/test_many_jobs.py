"""Many jobs for few calls."""

import random

import pytest

JOBS, REQUESTS = 1_000, 10


@pytest.mark.slow
def test_a_thousand_jobs_of_ten_requests_are_each_told_once_for_few_calls(workers) -> None:
    workers.wait_until_delivered(workers.register(workers.job()))  # they are at it: what follows is not over before
    chance = random.Random(11)
    scripts = [
        {"request_id": f"{number % REQUESTS:032x}", "duration_s": chance.uniform(4, 8)} for number in range(JOBS)
    ]
    made = workers.standin.call("POST", "/_standin/jobs", scripts)["jobs"]
    calls_before = workers.calls()
    registration = workers.register(job_ids=[job["job_id"] for job in made])
    workers.receiver.wait_for(1 + JOBS)
    assert workers.look(registration)["state"] == "finished"
    told = workers.receiver.callbacks[1:]
    assert len(told) == JOBS
    assert {callback.event["data"]["job"]["job_id"] for callback in told} == {job["job_id"] for job in made}
    # One by one, a poll each half second would have cost thousands.
    assert workers.calls() - calls_before < JOBS
