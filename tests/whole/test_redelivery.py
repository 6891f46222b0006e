"""Redelivery of dead deliveries, with the processes of production."""

import pytest

from app.devkit.processes import wait_until

pytestmark = pytest.mark.slow  # starts and kills processes

REFUSED = [(404, {})] * 3


def counts(deployment, registration) -> tuple[int, int, int]:
    found = deployment.get_registration(registration)["deliveries"]
    return found["pending"], found["delivered"], found["dead"]


def wait_for(deployment, registration, pending: int, delivered: int, dead: int) -> None:
    expected = (pending, delivered, dead)
    wait_until(lambda: counts(deployment, registration) == expected, what=f"{expected} of {registration['id']}")


def delivery_of(deployment, registration) -> dict:
    return deployment.bridge.call("GET", f"/v1/deliveries?registration_id={registration['id']}")["items"][0]


def test_a_dead_delivery_arrives_when_it_is_sent_once_more(running_deployment) -> None:
    running_deployment.receiver.statuses = list(REFUSED)
    registration = running_deployment.register(running_deployment.job())
    wait_for(running_deployment, registration, 0, 0, 1)
    dead = delivery_of(running_deployment, registration)
    assert (dead["state"], dead["attempt_count"]) == ("dead", 3)
    assert "refused" in dead["reason"]
    answer = running_deployment.bridge.call("POST", f"/v1/deliveries/{dead['id']}/redeliver")
    assert answer["state"] == "pending"
    running_deployment.wait_until_delivered(registration)
    assert running_deployment.receiver.one_event_each()
    times = [int(callback.headers["webhook-timestamp"]) for callback in running_deployment.receiver.callbacks]
    assert [callback.headers["bridge-attempt"] for callback in running_deployment.receiver.callbacks] == [
        "1",
        "2",
        "3",
        "4",
    ]
    assert times == sorted(times)
    assert [attempt["status_code"] for attempt in running_deployment.attempts(registration)] == [404, 404, 404, 200]
    assert counts(running_deployment, registration) == (0, 1, 0)


def test_all_that_died_while_a_receiver_was_set_up_wrongly_arrives_when_that_is_mended(running_deployment) -> None:
    running_deployment.receiver.statuses = REFUSED * 20
    registrations = [running_deployment.register(running_deployment.job()) for _ in range(20)]
    for registration in registrations:
        wait_for(running_deployment, registration, 0, 0, 1)
    selection = {"state": "dead", "destination": delivery_of(running_deployment, registrations[0])["destination"]}
    counted = running_deployment.bridge.call("POST", "/v1/deliveries/redeliver", selection | {"dry_run": True})
    assert counted == running_deployment.bridge.call("POST", "/v1/deliveries/redeliver", selection) == {"count": 20}
    running_deployment.wait_until_delivered(*registrations)
    assert running_deployment.receiver.one_event_each()
    assert set(running_deployment.receiver.ids().values()) == {4}


def test_a_url_that_is_gone_is_left_alone_until_a_test_call_succeeds(running_deployment) -> None:
    running_deployment.receiver.statuses = [(410, {})]
    job = running_deployment.standin.call("POST", "/_standin/jobs", {"duration_s": 3600})["jobs"][0]
    waiting, first = running_deployment.register(job["job_id"]), running_deployment.register(running_deployment.job())
    wait_for(running_deployment, first, 0, 0, 1)
    ends_now = {"job_id": job["job_id"], "request_id": job["request_id"], "duration_s": 0}
    running_deployment.standin.call("POST", "/_standin/jobs", ends_now)
    wait_for(running_deployment, waiting, 0, 0, 1)
    assert len(running_deployment.receiver.callbacks) == 1
    assert running_deployment.get_registration(waiting)["callback_gone"]
    assert "410" in delivery_of(running_deployment, waiting)["reason"]
    target = {"callback_url": running_deployment.receiver.url, "secret": running_deployment.bridge.secret}
    assert running_deployment.bridge.call("POST", "/v1/callbacks/test", target)["verdict"] == "delivered"
    assert not running_deployment.get_registration(waiting)["callback_gone"]
    for registration in (first, waiting):
        running_deployment.bridge.call(
            "POST", f"/v1/deliveries/{delivery_of(running_deployment, registration)['id']}/redeliver"
        )
        wait_for(running_deployment, registration, 0, 1, 0)


def test_a_hook_that_is_broken_is_known_before_the_job_ends(running_deployment) -> None:
    running_deployment.receiver.statuses = [(401, {})]
    registration = running_deployment.register(running_deployment.job(duration_s=60), verify=True)
    verdicts = []

    def verified() -> bool:
        found = running_deployment.get_registration(registration)
        verdicts.append((found["callback_verified"], found["callback_verdict"]))
        return found["callback_verified"] is True

    wait_until(verified, what="a delivered test call")
    assert list(dict.fromkeys(verdicts))[-1] == (True, "delivered")
    assert running_deployment.get_registration(registration)["jobs"][0]["state"] in {"pending", "running"}
    assert [attempt["status_code"] for attempt in running_deployment.attempts(registration)] == [401, 200]
