"""The dispatcher and the queues: wake-ups, bounded; and what may run on RQ."""

from collections.abc import Iterator
from datetime import timedelta
from threading import Thread

import pytest
from rq import Callback
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.webhook import Webhook

from app.bootstrap.runtime import Runtime
from app.config.settings import Settings
from app.devkit.processes import wait_until
from app.domain.errors import UnfitRedis
from app.store.agenda import DELIVER, POLL
from app.store.deployment_stats import DeploymentStatsReader
from workers.dispatcher import Dispatcher
from workers.engine.stop_flag import Stopping
from workers.rq_queues import WakeUp, enqueue_drain, queue


@pytest.fixture
def dispatcher(runtime: Runtime) -> Dispatcher:
    return Dispatcher(runtime)


def queued(runtime: Runtime, kind: str) -> int:
    return queue(kind, runtime.rq_redis).count


def test_what_is_due_wakes_one_worker_however_often_the_dispatcher_looks(
    runtime: Runtime, dispatcher: Dispatcher, registration
) -> None:
    for number in range(50):
        runtime.registrations.add(registration(f"job-{number}", at=runtime.clock()))
    for _ in range(10):
        dispatcher.look()
    assert (queued(runtime, POLL), queued(runtime, DELIVER)) == (1, 0)


def test_nothing_due_wakes_nobody(runtime: Runtime, dispatcher: Dispatcher) -> None:
    assert dispatcher.look() is None
    assert queued(runtime, POLL) == 0


def test_the_next_look_is_when_something_falls_due(runtime: Runtime, dispatcher: Dispatcher, registration) -> None:
    deadline = runtime.clock() + timedelta(seconds=30)
    runtime.registrations.add(registration(at=runtime.clock(), deadline_at=deadline))
    runtime.polls_due.claim_due(runtime.clock(), 10)
    look = dispatcher.look()
    assert look is not None
    assert abs(look - deadline) < timedelta(milliseconds=2)


def test_wake_ups_that_were_lost_are_made_again(runtime: Runtime, dispatcher: Dispatcher, registration) -> None:
    runtime.registrations.add(registration(at=runtime.clock()))
    dispatcher.look()
    for key in runtime.rq_redis.keys("rq:*"):
        runtime.rq_redis.delete(key)
    dispatcher.look()
    assert queued(runtime, POLL) == 1


def test_what_is_overdue_is_ended_by_the_dispatcher(
    runtime: Runtime, dispatcher: Dispatcher, registration, deliveries_of
) -> None:
    runtime.registrations.add(registration(deadline_at=runtime.clock() - timedelta(seconds=1)))
    dispatcher.look()
    assert [delivery.type for delivery in deliveries_of()] == ["job.overdue"]
    assert queued(runtime, DELIVER) == 1


@pytest.fixture
def two(runtime: Runtime, settings: Settings) -> Iterator[tuple[Runtime, Runtime]]:
    other = Runtime(settings)
    yield runtime, other
    other.redis.close()


def test_one_looks_and_the_others_stand_by_until_it_resigns(two: tuple[Runtime, Runtime]) -> None:
    first, second = (runtime.wake_ups for runtime in two)
    assert first.lead()
    assert not second.lead()
    assert first.lead()
    second.resign()  # has nothing to give
    assert not second.lead()
    first.resign()
    assert second.lead()


def test_a_mark_makes_the_dispatcher_look_now(runtime: Runtime, dispatcher: Dispatcher, registration) -> None:
    stopping = Stopping()
    thread = Thread(target=dispatcher.run, args=(stopping,))
    thread.start()
    try:
        runtime.registrations.add(registration(at=runtime.clock()))
        wait_until(lambda: queued(runtime, POLL), what="a wake-up")
    finally:
        stopping.set()
        thread.join(10)
    assert runtime.redis.keys("cph:lock:*") == []


def test_no_other_function_runs_on_rq(runtime: Runtime) -> None:
    target = queue(POLL, runtime.rq_redis)
    target.enqueue_call("os.system", args=("true",))
    (job,) = target.get_jobs()
    with pytest.raises(PermissionError):
        job.perform()


def test_a_wake_up_carries_nothing_but_its_kind(runtime: Runtime) -> None:
    target = queue(DELIVER, runtime.rq_redis)
    enqueue_drain(target, DELIVER, 60)
    (job,) = target.get_jobs()
    assert (job.func_name, job.args, job.kwargs) == ("workers.rq_jobs.drain", ["deliver"], {})


def test_what_else_a_stranger_put_into_an_rq_job_is_not_there(runtime: Runtime) -> None:
    Job.create(
        "workers.rq_jobs.drain",
        args=("poll",),
        id="forged",
        connection=runtime.rq_redis,
        on_success=Callback("os.abort"),
        on_failure=Callback("os.abort"),
        on_stopped=Callback("os.abort"),
        webhooks=[Webhook("http://127.0.0.1:9/", "finished")],
        serializer=JSONSerializer,
    ).save()
    forged = WakeUp.fetch("forged", connection=runtime.rq_redis, serializer=JSONSerializer)
    assert (forged.success_callback, forged.failure_callback, forged.stopped_callback) == (None, None, None)
    assert forged.webhooks == []


def test_its_looks_and_what_it_has_ended_are_told_for_metrics(
    runtime: Runtime, dispatcher: Dispatcher, registration
) -> None:
    runtime.registrations.add(registration(deadline_at=runtime.clock() - timedelta(seconds=1)))
    stopping = Stopping()
    thread = Thread(target=dispatcher.run, args=(stopping,))
    thread.start()
    standings = DeploymentStatsReader(runtime.scripts)
    wait_until(lambda: standings.read(runtime.clock()).looks, what="looks are told of")
    stopping.set()
    thread.join()
    standing = standings.read(runtime.clock())
    assert standing.overdue == 1
    assert standing.look_age is not None
    assert standing.look_age < timedelta(seconds=5)


def test_a_dispatcher_does_nothing_on_a_redis_that_is_unfit(runtime: Runtime, dispatcher: Dispatcher) -> None:
    runtime.redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(UnfitRedis, match="set maxmemory-policy noeviction"):
            dispatcher.run(Stopping())
        assert runtime.redis.keys("*") == []
    finally:
        runtime.redis.config_set("maxmemory-policy", "noeviction")
