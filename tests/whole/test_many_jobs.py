"""Many jobs are watched with few calls to CPH."""

import random

import pytest

JOBS, REQUESTS = 1_000, 10


@pytest.mark.slow
def test_a_thousand_jobs_of_ten_requests_are_each_reported_once_for_few_calls(running_deployment) -> None:
    running_deployment.wait_until_delivered(
        running_deployment.register(running_deployment.job())
    )  # both workers run before the next jobs end
    rng = random.Random(11)
    scripts = [{"request_id": f"{number % REQUESTS:032x}", "duration_s": rng.uniform(4, 8)} for number in range(JOBS)]
    made = running_deployment.standin.call("POST", "/_standin/jobs", scripts)["jobs"]
    calls_before = running_deployment.calls()
    registration = running_deployment.register(job_ids=[job["job_id"] for job in made])
    running_deployment.receiver.wait_for(1 + JOBS)
    assert running_deployment.get_registration(registration)["state"] == "finished"
    callbacks = running_deployment.receiver.callbacks[1:]
    assert len(callbacks) == JOBS
    assert {callback.event["data"]["job"]["job_id"] for callback in callbacks} == {job["job_id"] for job in made}
    # Polls by job id, twice a second, would have cost thousands of calls.
    assert running_deployment.calls() - calls_before < JOBS
