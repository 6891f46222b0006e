"""From registration to callback, with the processes of production."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.devkit.processes import wait_until


def test_a_job_that_ends_is_reported_with_everything_cph_said(running_deployment) -> None:
    job_id = running_deployment.job(
        duration_s=1, outcome="failed", error_code="CPS.0005", error_msg="no such phone 手机"
    )
    registration = running_deployment.register(job_id, metadata={"room": "ops"})
    running_deployment.wait_until_delivered(registration)
    (callback,) = running_deployment.receiver.callbacks
    assert callback.event["type"] == "job.failed"
    assert callback.event["data"]["job"]["error_msg"] == "no such phone 手机"
    assert callback.event["data"]["metadata"] == {"room": "ops"}
    assert running_deployment.get_registration(registration)["state"] == "finished"
    assert [attempt["status_code"] for attempt in running_deployment.attempts(registration)] == [200]


@pytest.mark.slow
def test_an_access_key_opens_cph_as_a_login_does(deployment) -> None:
    keys = {
        "BRIDGE_CPH_ACCESS_KEY": deployment.about_cph["access_key"],
        "BRIDGE_CPH_SECRET_KEY": deployment.about_cph["secret_key"],
    }
    deployment.start_worker("poll", BRIDGE_IAM_PASSWORD="", **keys)
    deployment.start_worker("deliver")
    deployment.wait_until_delivered(deployment.register(deployment.job()))


def test_a_job_that_cph_does_not_know_is_lost_and_one_without_an_end_is_overdue(running_deployment) -> None:
    lost = running_deployment.register("nobody-knows-me")
    overdue = running_deployment.register(running_deployment.job(duration_s=3600), deadline_s=10)
    running_deployment.wait_until_delivered(lost, overdue)
    types = {
        callback.event["data"]["registration_id"]: callback.event["type"]
        for callback in running_deployment.receiver.callbacks
    }
    assert types == {lost["id"]: "job.lost", overdue["id"]: "job.overdue"}


@pytest.mark.slow
def test_a_receiver_that_is_down_gets_its_callback_when_it_is_back(running_deployment) -> None:
    running_deployment.receiver.statuses = [(503, {}), (500, {}), (429, {"Retry-After": "1"})]
    registration = running_deployment.register(running_deployment.job())
    running_deployment.wait_until_delivered(registration)
    assert [attempt["status_code"] for attempt in running_deployment.attempts(registration)] == [503, 500, 429, 200]
    assert running_deployment.receiver.one_event_each()


@pytest.mark.slow
def test_a_hundred_registrations_for_one_job_cost_the_calls_of_one(running_deployment) -> None:
    job_id, other_job_id = (running_deployment.job(duration_s=3600) for _ in range(2))
    single = running_deployment.register(other_job_id)
    registrations = [running_deployment.register(job_id) for _ in range(100)]
    for id in (job_id, other_job_id):
        running_deployment.job(job_id=id)  # ends now
    running_deployment.wait_until_delivered(*registrations, single)
    assert running_deployment.receiver.one_event_each()
    assert len(running_deployment.receiver.ids()) == 101
    calls_by_job = running_deployment.standin.call("GET", "/_standin/calls")["by_job"]
    # The other job was registered a moment earlier, so it may be polled more often.
    assert calls_by_job[job_id] <= calls_by_job[other_job_id] + 1


@pytest.mark.slow
def test_a_hundred_rq_jobs_too_many_cause_no_attempt_more(deployment) -> None:
    deployment.start_worker("poll")
    registrations = [deployment.register(deployment.job()) for _ in range(20)]
    for each in registrations:
        wait_until(lambda: deployment.get_registration(each)["state"] == "finished", what="the job's end")  # noqa: B023
    deployment.flood_with_rq_jobs("deliver", 100)
    for _ in range(2):
        deployment.start_worker("deliver")
    deployment.wait_until_delivered(*registrations)
    wait_until(lambda: deployment.queued_rq_jobs("deliver") == 0, what="an empty queue")
    assert len(deployment.receiver.callbacks) == 20


def test_a_cancel_waits_for_the_attempt_that_is_under_way(running_deployment) -> None:
    running_deployment.receiver.gate.clear()
    registration = running_deployment.register(running_deployment.job())
    running_deployment.receiver.wait_for(1)
    with ThreadPoolExecutor(1) as pool:
        cancel = pool.submit(running_deployment.bridge.call, "DELETE", f"/v1/registrations/{registration['id']}")
        wait_until(
            lambda: running_deployment.get_registration(registration)["state"] == "cancelled",
            what="a cancelled registration",
        )
        assert not cancel.done()
        running_deployment.receiver.gate.set()
        cancel.result(10)
    assert running_deployment.get_registration(registration)["deliveries"] == {"pending": 0, "delivered": 1, "dead": 0}


@pytest.mark.slow
def test_tokens_that_end_in_flight_are_renewed_once_for_all_and_harm_no_job(running_deployment) -> None:
    running_deployment.start_worker("poll")
    jobs = [running_deployment.job(duration_s=3600) for _ in range(60)]
    registrations = [running_deployment.register(job) for job in jobs]
    wait_until(lambda: running_deployment.count_polled(jobs) >= len(jobs), what="a poll of each job")
    renewed_before = running_deployment.standin.call("GET", "/_standin/calls")["iam_tokens"]
    running_deployment.standin.call("POST", "/_standin/tokens/expire", {})
    for job in jobs:
        running_deployment.job(job_id=job)
    running_deployment.wait_until_delivered(*registrations)
    assert running_deployment.standin.call("GET", "/_standin/calls")["iam_tokens"] == renewed_before + 1
    assert {callback.event["type"] for callback in running_deployment.receiver.callbacks} == {"job.succeeded"}
    assert set(running_deployment.receiver.ids().values()) == {1}
