"""/v1/jobs: the last known state of a job, for tenants that have registered it."""

from datetime import timedelta

import pytest

from app.bootstrap.stores import Stores
from app.devkit.processes import wait_until
from app.domain.access import Scope
from app.domain.job import Job, JobState
from app.domain.times import rfc3339
from app.store.agenda import Claimed
from app.store.engine import keys
from tests.support.api_client import ApiCaller, problem
from tests.support.claims import claim_due, pass_deadlines

NEVER_POLLED = Job("one", JobState.PENDING).as_dict() | {"project": "default", "observed_at": None}


def claim(stores: Stores) -> Claimed:
    return wait_until(lambda: claim_due(stores.polls_due, stores.clock(), 1), what="a poll")[0]


def complete(stores: Stores, job: Job) -> None:
    stores.scripts.run(stores.watches.complete(claim(stores), job, stores.clock()))


def test_a_job_is_shown_as_it_was_seen_last(api: ApiCaller) -> None:
    runtime = api.runtime
    api.registered(job_id="one")
    assert api.get("/v1/jobs/one") == NEVER_POLLED
    claimed = claim(runtime.stores)
    [watch] = runtime.stores.watches.load([claimed])
    running = Job("one", JobState.RUNNING, 1, "r", "p", "s", "2019-04-26T07:00:00Z")
    now = runtime.stores.clock()
    runtime.stores.scripts.run(runtime.stores.watches.postpone(claimed, watch, now, now, running))
    assert api.get("/v1/jobs/one?project=default") == NEVER_POLLED | running.as_dict()
    ended = Job("one", JobState.FAILED, -1, "r", "p", "s", "a", "b", "CPS.1", "no", "sh: no")
    complete(runtime.stores, ended)
    observed = int(runtime.stores.redis.hget(keys.watch("default", "one"), "observed"))
    shown = api.get("/v1/jobs/one")
    assert shown == ended.as_dict() | {"project": "default", "observed_at": shown["observed_at"]}
    assert shown["observed_at"] == rfc3339(
        runtime.stores.clock().fromtimestamp(observed / 1000, runtime.stores.clock().tzinfo)
    )


@pytest.mark.parametrize("end", [JobState.LOST, JobState.OVERDUE])
def test_a_job_that_is_not_watched_any_more_is_known_by_its_registration(api: ApiCaller, end: JobState) -> None:
    runtime = api.runtime
    api.registered(job_id="one")
    if end is JobState.LOST:
        complete(runtime.stores, Job("one", JobState.LOST))
    else:
        pass_deadlines(runtime.stores, runtime.stores.clock() + timedelta(days=1))
    shown = api.get("/v1/jobs/one")
    assert (shown["state"], shown["job_id"]) == (end, "one")
    assert shown["observed_at"]


def test_a_job_without_a_delivery_has_its_state_alone(api: ApiCaller) -> None:
    api.registered(job_id="one", events=["job.failed"])
    complete(api.runtime.stores, Job("one", JobState.LOST))
    assert api.get("/v1/jobs/one") == NEVER_POLLED | {"state": "lost"}


def test_a_job_that_is_cancelled_is_shown_as_it_was(api: ApiCaller) -> None:
    registration = api.registered(job_id="one")
    api.call("DELETE", f"/v1/registrations/{registration['id']}")
    assert api.get("/v1/jobs/one") == NEVER_POLLED


def test_a_job_that_another_tenant_has_registered_is_not_there(api: ApiCaller) -> None:
    api.registered(job_id="one")
    theirs = api.runtime.stores.api_keys.create("acme", frozenset(Scope), api.runtime.stores.clock())
    unknown = problem(api.call("GET", "/v1/jobs/none", key=theirs), 404)
    for state in ("watched", "ended"):
        answer = problem(api.call("GET", "/v1/jobs/one", key=theirs), 404)
        assert answer | {"request_id": ""} == unknown | {"request_id": ""}, state
        if state == "watched":
            complete(api.runtime.stores, Job("one", JobState.SUCCEEDED))
    assert api.register(job_id="one", key=theirs).status_code == 201
    assert api.get("/v1/jobs/one", key=theirs)["state"] == "succeeded"


@pytest.mark.parametrize("id", ["a.b", "x" * 129, "%00", "a%20b"])
def test_what_cannot_be_a_job_is_not_there(api: ApiCaller, id: str) -> None:
    problem(api.call("GET", f"/v1/jobs/{id}"), 404)


def test_a_wrong_project_is_pointed_at(api: ApiCaller) -> None:
    assert problem(api.call("GET", "/v1/jobs/a?project=none"), 422)["errors"][0]["pointer"] == "/query/project"
