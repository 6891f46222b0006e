"""Credentials that end under running workers."""

from time import monotonic

import pytest

from app.cph.cached_credentials import SETTLING
from app.devkit.processes import wait_until
from tests.whole.conftest import Whole

JOBS = 300


def logins(whole: Whole) -> int:
    return int(whole.standin.call("GET", "/_standin/calls")["iam_tokens"])


@pytest.mark.slow
def test_a_token_that_ends_under_two_workers_is_renewed_once_and_harms_no_job(whole) -> None:
    for kind in ("poll", "poll", "deliver"):
        whole.start_worker(kind)
    old = [whole.job(duration_s=600) for _ in range(JOBS)]
    registrations = [whole.register(job_ids=old)]
    wait_until(lambda: whole.looks_at(old) == JOBS, what="a look at each job")
    issued = monotonic()
    wait_until(lambda: monotonic() - issued > SETTLING.total_seconds(), what="a token that is not brand-new")
    logins_before, calls_before = logins(whole), whole.calls()
    whole.standin.call("POST", "/_standin/tokens/expire")
    # Some are asked for one by one, by many threads of both workers at once, others together.
    new = [whole.job() for _ in range(JOBS)]
    registrations.append(whole.register(job_ids=new))
    whole.standin.call("POST", "/_standin/jobs", [{"job_id": job_id, "duration_s": 0} for job_id in old])
    whole.receiver.wait_for(2 * JOBS)
    assert {callback.event["type"] for callback in whole.receiver.callbacks} == {"job.succeeded"}
    assert set(whole.receiver.ids().values()) == {1}
    assert logins(whole) == logins_before + 1
    assert whole.calls() > calls_before + JOBS
    assert "project.refused" not in whole.log_of("worker-poll")
    [project] = whole.bridge.call("GET", "/v1/projects")["items"]
    assert (project["state"], project["last_error"]) == ("ok", None)
