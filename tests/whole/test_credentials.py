"""Credentials that expire while workers run."""

from time import monotonic

import pytest

from app.cph.cached_credentials import MIN_RENEWAL_INTERVAL
from app.devkit.processes import wait_until
from tests.whole.conftest import Deployment

JOBS = 300


def login_count(deployment: Deployment) -> int:
    return int(deployment.standin.call("GET", "/_standin/calls")["iam_tokens"])


@pytest.mark.slow
def test_a_token_that_ends_under_two_workers_is_renewed_once_and_harms_no_job(deployment: Deployment) -> None:
    for kind in ("poll", "poll", "deliver"):
        deployment.start_worker(kind)
    old = [deployment.job(duration_s=600) for _ in range(JOBS)]
    registrations = [deployment.register(job_ids=old)]
    wait_until(lambda: deployment.count_polled(old) == JOBS, what="a poll of each job")
    issued = monotonic()
    wait_until(
        lambda: monotonic() - issued > MIN_RENEWAL_INTERVAL.total_seconds(), what="a token old enough to be renewed"
    )
    logins_before, calls_before = login_count(deployment), deployment.calls()
    deployment.standin.call("POST", "/_standin/tokens/expire")
    # New jobs are polled by id, by many threads of both workers at once. Old jobs are polled by request.
    new = [deployment.job() for _ in range(JOBS)]
    registrations.append(deployment.register(job_ids=new))
    deployment.standin.call("POST", "/_standin/jobs", [{"job_id": job_id, "duration_s": 0} for job_id in old])
    deployment.receiver.wait_for(2 * JOBS)
    assert {callback.event["type"] for callback in deployment.receiver.callbacks} == {"job.succeeded"}
    assert set(deployment.receiver.ids().values()) == {1}
    assert login_count(deployment) == logins_before + 1
    assert deployment.calls() > calls_before + JOBS
    assert "project.refused" not in deployment.log_of("worker-poll")
    [project] = deployment.bridge.call("GET", "/v1/projects")["items"]
    assert (project["state"], project["last_error"]) == ("ok", None)
