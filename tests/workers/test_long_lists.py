"""Lists that are read in parts, because CPH throttles after some pages or because they take too long."""

import json
from datetime import timedelta

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.domain.event import EventType
from app.domain.job import JobState
from app.domain.registration import Notify
from app.store.engine import keys
from tests.support.claims import claim_due
from tests.support.served import Served

SECOND = timedelta(seconds=1)
TWO_PAGES = {"calls": 2, "per_s": 60, "api": "list_jobs"}  # the stand-in's clock is the real one


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load(environment | {"BRIDGE_CPH_RATE": "1000", "BRIDGE_LOST_GRACE_S": "10"})


def job_states(stores: Stores, made) -> list[JobState]:
    found = stores.registrations.get("t", made.id)
    assert found is not None
    return list(found[1].jobs.values())


def page_of(stores: Stores, request_id: str) -> int | None:
    cut = stores.redis.hget(keys.request("default", request_id), "cut")
    return json.loads(cut)[0] if cut else None


def test_a_list_that_cph_never_gives_whole_is_read_part_by_part(
    stores: Stores, make_request_registration, poll_rounds, standin: Served, deliveries_of
) -> None:
    jobs = standin.jobs(450, duration_s=0)
    request_id = jobs[0]["request_id"]
    made = make_request_registration(request_id, notify=Notify.ALL)
    for seen in (200, 400, 450):
        standin.order("/_standin/budget", TWO_PAGES)
        for _ in range(5 * 60):
            if len(job_states(stores, made)) == seen:
                break
            poll_rounds(1)
        assert len(job_states(stores, made)) == seen
        assert page_of(stores, request_id) == (seen // 100 if seen < 450 else None)
    assert deliveries_of() == []
    standin.call("DELETE", "/_standin/faults")
    poll_rounds(5 * 60)
    assert set(job_states(stores, made)) == {JobState.SUCCEEDED}
    assert [delivery.type for delivery in deliveries_of()] == [EventType.GROUP_FINISHED]
    assert not stores.redis.exists(keys.request("default", request_id))


def test_of_what_comes_behind_the_cut_nothing_is_concluded(
    stores: Stores, registration, poll_rounds, standin: Served, new_calls, deliveries_of
) -> None:
    jobs = standin.jobs(300, duration_s=3600)
    request_id, ids = jobs[0]["request_id"], [job["job_id"] for job in jobs]
    made = registration(*ids, request_id=request_id)
    stores.registrations.add(made)
    poll_rounds(2)
    assert job_states(stores, made) == [JobState.RUNNING] * 300
    standin.order("/_standin/jobs", {"job_id": ids[0], "request_id": request_id, "duration_s": 0})
    new_calls()
    standin.order("/_standin/budget", TWO_PAGES)
    poll_rounds(30)
    assert new_calls() == (0, 3)
    assert page_of(stores, request_id) == 2
    standin.call("DELETE", "/_standin/faults")
    poll_rounds(100)
    assert [delivery.job_id for delivery in deliveries_of()] == [ids[0]]
    assert page_of(stores, request_id) is None
    assert new_calls()[0] == 0


def test_what_a_list_that_is_always_cut_shows_no_more_is_asked_for_by_its_id(
    stores: Stores, registration, poll_rounds, standin: Served, deliveries_of
) -> None:
    jobs = standin.jobs(350, duration_s=3600)
    request_id, ids = jobs[0]["request_id"], [job["job_id"] for job in jobs]
    never_there = standin.job(duration_s=0)["job_id"]
    stores.registrations.add(registration(never_there, *ids, request_id=request_id))
    poll_rounds(2)
    standin.job(job_id=ids[0], duration_s=0)  # moves it to another request
    for _ in range(10):
        standin.order("/_standin/budget", TWO_PAGES)
        poll_rounds(60)
    is_polled = stores.redis.zscore(keys.due("poll", "default"), ids[0])
    assert is_polled or ids[0] in {delivery.job_id for delivery in deliveries_of()}
    standin.call("DELETE", "/_standin/faults")
    poll_rounds(5 * 60)
    assert {delivery.job_id for delivery in deliveries_of()} == {never_there, ids[0]}


def test_a_batch_that_is_cut_is_asked_for_one_by_one(
    make_watched_job, poll_rounds, standin: Served, new_calls, stores: Stores
) -> None:
    made = [standin.jobs(100, duration_s=3600) for _ in range(4)]
    jobs = [make_watched_job(job["job_id"]) for request in made for job in request]
    poll_rounds(5)
    standin.order("/_standin/budget", TWO_PAGES)
    poll_rounds(30)
    assert {page_of(stores, request[0]["request_id"]) for request in made} == {0}
    standin.call("DELETE", "/_standin/faults")
    poll_rounds(5 * 60)
    assert {page_of(stores, request[0]["request_id"]) for request in made} == {None}
    new_calls()
    for request in made:
        standin.end(request[99])
    poll_rounds(5 * 60)
    assert [job.state for job in jobs].count(JobState.SUCCEEDED) == 4
    assert new_calls()[0] == 0


def test_a_list_is_begun_anew_when_the_page_where_it_goes_on_fails_by_itself(
    stores: Stores, registration, poll_rounds, standin: Served, new_calls
) -> None:
    jobs = standin.jobs(300, duration_s=3600)
    request_id, ids = jobs[0]["request_id"], [job["job_id"] for job in jobs]
    stores.registrations.add(registration(*ids, request_id=request_id))
    poll_rounds(2)
    standin.order("/_standin/budget", TWO_PAGES)
    poll_rounds(5)
    assert page_of(stores, request_id) == 2
    standin.call("DELETE", "/_standin/faults")
    standin.order("/_standin/faults", {"kind": "garbage", "api": "list_jobs"})
    new_calls()
    for _ in range(5 * 60):
        poll_rounds(1)
        if new_calls() != (0, 0):
            break
    assert page_of(stores, request_id) is None


def test_a_list_that_takes_half_a_lease_is_read_on_with_the_next(
    runtime: Runtime, make_request_registration, poll_worker, clock, standin: Served
) -> None:
    jobs = standin.jobs(250, duration_s=3600)
    request_id = jobs[0]["request_id"]
    made = make_request_registration(request_id)
    lease = runtime.settings.lease

    class SlowClient:
        """A client for which each page takes a third of a lease."""

        def __init__(self, client) -> None:
            self._client = client
            self.credentials_expire_at = self.clock_ahead = None

        def list_jobs(self, *named, may_go_on, **options):
            def after_a_page() -> bool:
                clock.now += lease / 3
                return may_go_on()

            return self._client.list_jobs(*named, may_go_on=after_a_page, **options)

    poll_worker._clients["default"] = SlowClient(poll_worker._clients["default"])
    for seen in (200, 250):
        (task,) = poll_worker.prepare(claim_due(runtime.stores.polls_due, clock(), 10))
        runtime.stores.scripts.run_all(poll_worker.do(task))
        assert len(job_states(runtime.stores, made)) == seen
    assert page_of(runtime.stores, request_id) is None
