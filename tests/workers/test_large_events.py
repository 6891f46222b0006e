"""Receivers that refuse large bodies, by 413."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from app.domain.delivery import Death, DeliveryState
from app.domain.job import Job, JobState
from app.domain.registration import Notify
from app.domain.signature import new_secret
from app.domain.times import from_ms
from tests.support.receiver import Callback, Receiver
from workers.delivery.deliver import DeliveryWorker

SECOND = timedelta(seconds=1)
SECRET = new_secret(b"s" * 32)
JOBS = tuple(
    Job(
        f"{number:032}", JobState.FAILED, status=-1, error_code="CPS.0003", error_msg="e" * 20, phone_id=f"{number:032}"
    )
    for number in range(500)
)


class SmallReceiver(Receiver):
    """Refuses bodies that are longer than `limit` bytes."""

    limit = 100_000

    def answer_to(self, callback: Callback) -> tuple[int, dict[str, str], bytes]:
        if len(callback.body) > self.limit:
            self.statuses.insert(0, (413, {}))
        return super().answer_to(callback)


@pytest.fixture
def small_receiver() -> Iterator[SmallReceiver]:
    with SmallReceiver() as receiver:
        yield receiver


@pytest.fixture
def register_large(stores, registration, small_receiver: SmallReceiver, clock) -> Callable[..., None]:
    def make(form: str) -> None:
        where = {"callback_url": small_receiver.url, "destination": "here", "format": form, "secret": SECRET}
        stores.registrations.add(registration(at=clock.now, job_ids=(), ended=JOBS, notify=Notify.ALL, **where))

    return make


@pytest.mark.parametrize("form", ["standard", "cloudevents"])
def test_a_large_event_arrives_cut_at_a_receiver_that_takes_less(
    delivery_worker: DeliveryWorker,
    run_due,
    register_large,
    small_receiver: SmallReceiver,
    delivery_log: Callable[[], tuple[DeliveryState, list[dict[str, Any]]]],
    form: str,
) -> None:
    register_large(form)
    run_due(delivery_worker)
    full, short = small_receiver.callbacks
    assert len(full.body) > small_receiver.limit > len(short.body)
    assert (short.id, short.event["data"]["truncated"], short.event["data"]["group"]["failed"]) == (full.id, True, 500)
    signed = Webhook(SECRET).sign(
        short.id, from_ms(1000 * int(short.headers["webhook-timestamp"])), short.body.decode()
    )
    assert signed in short.headers["webhook-signature"].split()
    state, (attempt,) = delivery_log()
    assert (state, attempt["fallback"]) == (DeliveryState.DELIVERED, True)
    assert attempt["service_message"] == "answered 413; sent again in its simplest form, which was accepted"


def test_a_receiver_that_takes_nothing_is_sent_the_cut_event_once(
    delivery_worker: DeliveryWorker, run_due, register_large, small_receiver: SmallReceiver, deliveries_of, clock
) -> None:
    small_receiver.limit = 100
    register_large("standard")
    for _ in range(10):
        run_due(delivery_worker)
        clock.now += 300 * SECOND
    (delivery,) = deliveries_of()
    assert (delivery.death, delivery.attempts) == (Death.REFUSED, 3)
    assert len(small_receiver.callbacks) == 4
