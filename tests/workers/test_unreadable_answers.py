"""Answers of CPH that cannot be read, or not in every part: no end is hidden, and operators are told."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.cph.client import CphClient
from app.cph.credentials import FixedToken
from app.devkit.standin.damage import AnswerDamage
from app.domain.event import EventType
from app.domain.job import JobState
from app.domain.registration import Notify
from app.store.engine import keys
from app.transport.client import Transport
from tests.support.scripted_cloud import CloudHandler, ScriptedCloud, running_cloud, says
from tests.support.served import Served
from workers.polling.show_job import LIST_AGAIN_AFTER

SECOND = timedelta(seconds=1)
READABLE = set(AnswerDamage) - {AnswerDamage.NO_STATUS, AnswerDamage.DAMAGED_ID}


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load(environment | {"BRIDGE_CPH_RATE": "1000", "BRIDGE_LOST_GRACE_S": "10"})


@pytest.fixture
def order_fault(standin: Served) -> Callable[..., None]:
    return lambda kind, **more: standin.order("/_standin/faults", {"kind": kind, "times": None, **more})


def exposition(runtime: Runtime) -> str:
    registry = CollectorRegistry()
    registry.register(runtime.metric_registry.collector())
    return generate_latest(registry).decode()


@pytest.mark.parametrize("damage", sorted(READABLE))
def test_a_damaged_answer_about_one_job_does_not_hide_its_end(
    make_watched_job, poll_rounds, standin: Served, order_fault, damage: AnswerDamage
) -> None:
    job = make_watched_job(standin.job(duration_s=0)["job_id"])
    order_fault("damaged", damage=damage)
    poll_rounds(1)
    assert job.events == [EventType.JOB_SUCCEEDED]


@pytest.mark.parametrize("damage", list(AnswerDamage))
def test_one_damaged_record_hides_no_end_of_all_that_is_asked_for_together(
    make_watched_job, poll_rounds, standin: Served, order_fault, damage: AnswerDamage
) -> None:
    made = [job for _ in range(3) for job in standin.jobs(3, duration_s=3600)]
    jobs = [make_watched_job(job["job_id"]) for job in made]
    poll_rounds(3)
    order_fault("damaged", damage=damage, job_id=made[4]["job_id"], api="list_jobs")
    for job in made:
        standin.end(job, outcome="failed", error_code="CPS.0005")
    poll_rounds(5)
    assert {job.state for job in jobs} == {JobState.FAILED}


@pytest.mark.parametrize("damage", list(AnswerDamage))
def test_one_record_that_stays_damaged_does_not_keep_back_the_end_of_its_group(
    make_request_registration,
    poll_rounds,
    standin: Served,
    order_fault,
    deliveries_of,
    stores: Stores,
    damage: AnswerDamage,
) -> None:
    made = standin.jobs(3, duration_s=0)
    order_fault("damaged", damage=damage, job_id=made[1]["job_id"], api="list_jobs")
    registered = make_request_registration(made[0]["request_id"], notify=Notify.ALL)
    poll_rounds(40)
    assert [delivery.type for delivery in deliveries_of()] == [EventType.GROUP_FINISHED]
    found = stores.registrations.get("t", registered.id)
    assert found is not None
    # Nobody can ask for a job whose id cannot be read.
    assert len(found[1].jobs) == (2 if damage is AnswerDamage.DAMAGED_ID else 3)
    assert set(found[1].jobs.values()) == {JobState.SUCCEEDED}


@pytest.mark.parametrize("kind", ["garbage", "html", "error_500", "truncated"])
def test_one_request_that_cannot_be_listed_hides_no_end_of_the_others_nor_its_own(
    make_watched_job, poll_rounds, standin: Served, order_fault, new_calls, kind: str
) -> None:
    made = [standin.job(duration_s=3600) for _ in range(20)]
    jobs = [make_watched_job(job["job_id"]) for job in made]
    poll_rounds(3)
    order_fault(kind, api="list_jobs", job_id=made[7]["job_id"])
    poll_rounds(5)
    new_calls()
    poll_rounds(10)
    shown, listed = new_calls()
    assert shown <= 10  # only the job of that request
    assert listed <= 10  # the others are listed together again
    for job in made:
        standin.end(job)
    poll_rounds(5)
    assert {job.state for job in jobs} == {JobState.SUCCEEDED}


def test_a_request_that_cannot_be_listed_is_asked_for_job_by_job(
    stores: Stores, registration, poll_rounds, standin: Served, order_fault, new_calls, caplog
) -> None:
    made = standin.jobs(5, duration_s=3600)
    registered = registration(*(job["job_id"] for job in made), request_id=made[0]["request_id"])
    stores.registrations.add(registered)
    order_fault("garbage", api="list_jobs")
    poll_rounds(10)
    new_calls()
    for job in made:
        standin.end(job)
    poll_rounds(3)
    assert new_calls() == (5, 0)
    found = stores.registrations.get("t", registered.id)
    assert found is not None
    assert set(found[1].jobs.values()) == {JobState.SUCCEEDED}
    line = next(record.fields for record in caplog.records if record.getMessage() == "request.list_failed")
    assert (line["request_id"], line["jobs"]) == (made[0]["request_id"], 5)


def test_while_cph_answers_nothing_no_list_is_taken_apart(
    make_watched_job, poll_rounds, standin: Served, order_fault, new_calls
) -> None:
    made = [standin.job(duration_s=3600) for _ in range(20)]
    for job in made:
        make_watched_job(job["job_id"])
    poll_rounds(3)
    order_fault("error_500")
    new_calls()
    poll_rounds(20)
    shown, listed = new_calls()
    assert 0 < listed <= 20
    assert shown <= listed
    standin.call("DELETE", "/_standin/faults")
    poll_rounds(30)
    new_calls()
    poll_rounds(10)
    assert new_calls()[0] == 0


def test_a_request_is_listed_again_when_its_list_has_been_unreadable_for_a_while(
    make_watched_job, poll_rounds, standin: Served, order_fault, new_calls
) -> None:
    jobs = [make_watched_job(job["job_id"]) for job in standin.jobs(5, duration_s=36_000)]
    order_fault("garbage", api="list_jobs")
    poll_rounds(30)
    standin.call("DELETE", "/_standin/faults")
    poll_rounds(LIST_AGAIN_AFTER.total_seconds() + 60)
    new_calls()
    poll_rounds(120)
    shown, listed = new_calls()
    assert (shown, listed > 0) == (0, True)
    assert {job.state for job in jobs} == {JobState.RUNNING}


@pytest.mark.parametrize("first", [b"<html>", says(500), says(403), says(400, {"error_code": "CPS.0003"})])
def test_a_page_that_cannot_be_read_hides_no_end_on_any_page(
    stores: Stores, registration, poll_worker, poll_rounds, first
) -> None:
    ids = [f"j{number:03}" for number in range(150)]
    refused = says(200, first) if isinstance(first, bytes) else first

    def answer(handler: CloudHandler) -> None:
        if "offset=100" in handler.path:
            refused(handler)
        elif "offset=0" in handler.path:
            says(200, {"jobs": [{"job_id": id, "status": status[id]} for id in ids[:100]]})(handler)
        else:
            id = handler.path.rsplit("/", 1)[1]
            says(200, {"job_id": id, "status": status[id], "request_id": "r"})(handler)

    status = dict.fromkeys(ids, 1)
    with running_cloud() as cloud:
        use(poll_worker, cloud, answer)
        registered = registration(*ids, request_id="r")
        stores.registrations.add(registered)
        poll_rounds(10)
        status |= {ids[3]: 2, ids[130]: -1}
        poll_rounds(20)
        found = stores.registrations.get("t", registered.id)
        assert found is not None
        assert (found[1].jobs[ids[3]], found[1].jobs[ids[130]]) == (JobState.SUCCEEDED, JobState.FAILED)


def use(poll_worker, cloud: ScriptedCloud, answer: Callable[[CloudHandler], None]) -> None:
    """Lets the worker poll this cloud."""
    cloud.cph = answer
    poll_worker._clients["default"] = CphClient(
        transport=Transport(), endpoint=cloud.url, project_id="p", credentials=FixedToken("t"), deadline=5 * SECOND
    )


@pytest.mark.parametrize("count", [100, 200])
def test_a_list_whose_end_cph_refuses_ends_its_group_without_a_call_too_many(
    make_request_registration, poll_rounds, standin: Served, order_fault, new_calls, deliveries_of, count: int
) -> None:
    made = standin.jobs(count, duration_s=0)
    order_fault("offset_refused", api="list_jobs")
    make_request_registration(made[0]["request_id"], notify=Notify.ALL)
    new_calls()
    poll_rounds(40)
    assert [delivery.type for delivery in deliveries_of()] == [EventType.GROUP_FINISHED]
    assert new_calls()[1] <= 40 * (count // 100 + 1)


def test_a_page_that_fails_is_charged_to_the_rate_limit(
    make_request_registration, run_due, poll_worker, standin: Served, stores: Stores
) -> None:
    made = standin.jobs(250, duration_s=3600)
    make_request_registration(made[0]["request_id"])
    standin.order("/_standin/budget", {"calls": 2, "per_s": 60, "api": "list_jobs"})
    run_due(poll_worker)
    assert float(stores.redis.hget(keys.lane("poll", "default"), "tokens")) <= 1000 - 3


def test_an_answer_that_cannot_be_read_is_told(
    make_watched_job, poll_rounds, order_fault, standin: Served, stores: Stores, runtime, caplog, clock
) -> None:
    make_watched_job(standin.job(duration_s=3600)["job_id"])
    order_fault("html", api="show_job")
    poll_rounds(1)
    (line,) = [record.fields for record in caplog.records if record.getMessage() == "cph.unreadable"]
    assert line == {"project": "default", "reason": "HTTP 200: it is a web page (54 bytes)"}
    (health,) = stores.project_healths.of(["default"])
    hint = health.remedy(clock())
    assert hint is not None
    assert hint.startswith("CPH's answers cannot be read (HTTP 200: it is a web page (54 bytes))")
    assert health.remedy(clock() + timedelta(hours=1)) is None
    assert 'outcome="unreadable"' in exposition(runtime)


def test_a_record_that_cannot_be_read_is_told(
    make_request_registration, poll_rounds, order_fault, standin: Served, stores: Stores, caplog, clock
) -> None:
    made = standin.jobs(3, duration_s=3600)
    order_fault("damaged", damage="damaged_id", job_id=made[1]["job_id"], api="list_jobs")
    make_request_registration(made[0]["request_id"])
    poll_rounds(1)
    reasons = [json.dumps(record.fields) for record in caplog.records if record.getMessage() == "cph.unreadable"]
    assert len(reasons) == 1
    assert "1 of 3 listed jobs cannot be read" in reasons[0]
    (health,) = stores.project_healths.of(["default"])
    assert "1 of 3 listed jobs" in (health.remedy(clock()) or "")
