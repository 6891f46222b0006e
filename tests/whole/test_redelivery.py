"""Dead and gone, and back, with the processes of production."""

import pytest

from app.devkit.processes import wait_until

pytestmark = pytest.mark.slow  # processes start, and die

REFUSED = [(404, {})] * 3


def counts(whole, registration) -> tuple[int, int, int]:
    seen = whole.look(registration)["deliveries"]
    return seen["pending"], seen["delivered"], seen["dead"]


def wait_for(whole, registration, pending: int, delivered: int, dead: int) -> None:
    expected = (pending, delivered, dead)
    wait_until(lambda: counts(whole, registration) == expected, what=f"{expected} of {registration['id']}")


def delivery_of(whole, registration) -> dict:
    return whole.bridge.call("GET", f"/v1/deliveries?registration_id={registration['id']}")["items"][0]


def test_a_dead_delivery_arrives_when_it_is_sent_once_more(workers) -> None:
    workers.receiver.statuses = list(REFUSED)
    registration = workers.register(workers.job())
    wait_for(workers, registration, 0, 0, 1)
    dead = delivery_of(workers, registration)
    assert (dead["state"], dead["attempt_count"]) == ("dead", 3)
    assert "refused" in dead["reason"]
    answer = workers.bridge.call("POST", f"/v1/deliveries/{dead['id']}/redeliver")
    assert answer["state"] == "pending"
    workers.wait_until_delivered(registration)
    assert workers.one_event_each()
    times = [int(callback.headers["webhook-timestamp"]) for callback in workers.receiver.callbacks]
    assert [callback.headers["bridge-attempt"] for callback in workers.receiver.callbacks] == ["1", "2", "3", "4"]
    assert times == sorted(times)
    assert [attempt["status_code"] for attempt in workers.attempts(registration)] == [404, 404, 404, 200]
    assert counts(workers, registration) == (0, 1, 0)


def test_all_that_died_while_a_receiver_was_set_up_wrongly_arrives_when_that_is_mended(workers) -> None:
    workers.receiver.statuses = REFUSED * 20
    registrations = [workers.register(workers.job()) for _ in range(20)]
    for registration in registrations:
        wait_for(workers, registration, 0, 0, 1)
    order = {"state": "dead", "destination": delivery_of(workers, registrations[0])["destination"]}
    counted = workers.bridge.call("POST", "/v1/deliveries/redeliver", order | {"dry_run": True})
    assert counted == workers.bridge.call("POST", "/v1/deliveries/redeliver", order) == {"count": 20}
    workers.wait_until_delivered(*registrations)
    assert workers.one_event_each()
    assert set(workers.receiver.ids().values()) == {4}


def test_a_url_that_is_gone_is_left_alone_until_a_test_call_succeeds(workers) -> None:
    workers.receiver.statuses = [(410, {})]
    job = workers.standin.call("POST", "/_standin/jobs", {"duration_s": 3600})["jobs"][0]
    waiting, first = workers.register(job["job_id"]), workers.register(workers.job())
    wait_for(workers, first, 0, 0, 1)
    ends_now = {"job_id": job["job_id"], "request_id": job["request_id"], "duration_s": 0}
    workers.standin.call("POST", "/_standin/jobs", ends_now)
    wait_for(workers, waiting, 0, 0, 1)
    assert len(workers.receiver.callbacks) == 1
    assert workers.look(waiting)["callback_gone"]
    assert "410" in delivery_of(workers, waiting)["reason"]
    order = {"callback_url": workers.receiver.url, "secret": workers.bridge.secret}
    assert workers.bridge.call("POST", "/v1/callbacks/test", order)["verdict"] == "delivered"
    assert not workers.look(waiting)["callback_gone"]
    for registration in (first, waiting):
        workers.bridge.call("POST", f"/v1/deliveries/{delivery_of(workers, registration)['id']}/redeliver")
        wait_for(workers, registration, 0, 1, 0)


def test_a_hook_that_is_broken_is_known_before_the_job_ends(workers) -> None:
    workers.receiver.statuses = [(401, {})]
    registration = workers.register(workers.job(duration_s=60), verify=True)
    verdicts = []

    def verified() -> bool:
        seen = workers.look(registration)
        verdicts.append((seen["callback_verified"], seen["callback_verdict"]))
        return seen["callback_verified"] is True

    wait_until(verified, what="the test arrived")
    assert list(dict.fromkeys(verdicts))[-1] == (True, "delivered")
    assert workers.look(registration)["jobs"][0]["state"] in {"pending", "running"}
    assert [attempt["status_code"] for attempt in workers.attempts(registration)] == [401, 200]
