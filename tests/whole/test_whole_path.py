"""From registration to callback, with the processes of production."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.devkit.processes import wait_until


def test_a_job_that_ends_is_told_with_everything_cph_said(workers) -> None:
    job_id = workers.job(duration_s=1, outcome="failed", error_code="CPS.0005", error_msg="no such phone 手机")
    registration = workers.register(job_id, metadata={"room": "ops"})
    workers.wait_until_delivered(registration)
    (callback,) = workers.receiver.callbacks
    assert callback.event["type"] == "job.failed"
    assert callback.event["data"]["job"]["error_msg"] == "no such phone 手机"
    assert callback.event["data"]["metadata"] == {"room": "ops"}
    assert workers.look(registration)["state"] == "finished"
    assert [attempt["status_code"] for attempt in workers.attempts(registration)] == [200]


@pytest.mark.slow
def test_an_access_key_opens_cph_as_a_login_does(whole) -> None:
    keys = {
        "BRIDGE_CPH_ACCESS_KEY": whole.about_cph["access_key"],
        "BRIDGE_CPH_SECRET_KEY": whole.about_cph["secret_key"],
    }
    whole.start_worker("poll", BRIDGE_IAM_PASSWORD="", **keys)
    whole.start_worker("deliver")
    whole.wait_until_delivered(whole.register(whole.job()))


def test_a_job_that_cph_does_not_know_is_lost_and_one_without_an_end_is_overdue(workers) -> None:
    lost = workers.register("nobody-knows-me")
    standing = workers.register(workers.job(duration_s=3600), deadline_s=10)
    workers.wait_until_delivered(lost, standing)
    types = {
        callback.event["data"]["registration_id"]: callback.event["type"] for callback in workers.receiver.callbacks
    }
    assert types == {lost["id"]: "job.lost", standing["id"]: "job.overdue"}


@pytest.mark.slow
def test_a_receiver_that_is_down_gets_its_callback_when_it_is_back(workers) -> None:
    workers.receiver.statuses = [(503, {}), (500, {}), (429, {"Retry-After": "1"})]
    registration = workers.register(workers.job())
    workers.wait_until_delivered(registration)
    assert [attempt["status_code"] for attempt in workers.attempts(registration)] == [503, 500, 429, 200]
    assert workers.one_event_each()


@pytest.mark.slow
def test_a_hundred_registrations_for_one_job_cost_the_calls_of_one(workers) -> None:
    job_id = workers.job(duration_s=3)
    alone = workers.job(duration_s=3)
    registrations = [workers.register(job_id) for _ in range(100)]
    single = workers.register(alone)
    workers.wait_until_delivered(*registrations, single)
    assert workers.one_event_each()
    assert len(workers.receiver.ids()) == 101
    asked = workers.standin.call("GET", "/_standin/calls")["by_job"]
    # The first was registered a moment earlier, while the other 99 were on their way: that moment is its only extra.
    assert asked[job_id] <= asked[alone] + 5


@pytest.mark.slow
def test_a_hundred_wake_ups_too_many_cause_no_attempt_more(whole) -> None:
    whole.start_worker("poll")
    registrations = [whole.register(whole.job()) for _ in range(20)]
    for each in registrations:
        wait_until(lambda: whole.look(each)["state"] == "finished", what="the job's end")  # noqa: B023
    whole.flood_with_wake_ups("deliver", 100)
    for _ in range(2):
        whole.start_worker("deliver")
    whole.wait_until_delivered(*registrations)
    wait_until(lambda: whole.queued("deliver") == 0, what="all wake-ups taken")
    assert len(whole.receiver.callbacks) == 20


def test_a_cancel_waits_for_the_attempt_that_is_under_way(workers) -> None:
    workers.receiver.gate.clear()
    registration = workers.register(workers.job())
    workers.receiver.wait_for(1)
    with ThreadPoolExecutor(1) as pool:
        cancel = pool.submit(workers.bridge.call, "DELETE", f"/v1/registrations/{registration['id']}")
        wait_until(lambda: workers.look(registration)["state"] == "cancelled", what="the cancel begun")
        assert not cancel.done()
        workers.receiver.gate.set()
        cancel.result(10)
    assert workers.look(registration)["deliveries"] == {"pending": 0, "delivered": 1, "dead": 0}


@pytest.mark.slow
def test_tokens_that_end_in_flight_are_renewed_once_for_all_and_harm_no_job(workers) -> None:
    workers.start_worker("poll")
    jobs = [workers.job(duration_s=3600) for _ in range(60)]
    registrations = [workers.register(job) for job in jobs]
    wait_until(lambda: workers.looks_at(jobs) >= len(jobs), what="a look at each job")
    renewed_before = workers.standin.call("GET", "/_standin/calls")["iam_tokens"]
    workers.standin.call("POST", "/_standin/tokens/expire", {})
    for job in jobs:
        workers.job(job_id=job)
    workers.wait_until_delivered(*registrations)
    assert workers.standin.call("GET", "/_standin/calls")["iam_tokens"] == renewed_before + 1
    assert {callback.event["type"] for callback in workers.receiver.callbacks} == {"job.succeeded"}
    assert set(workers.receiver.ids().values()) == {1}
