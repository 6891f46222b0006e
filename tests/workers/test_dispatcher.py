"""The dispatcher and its queues: at most one waiting RQ job of each kind, and only `drain` runs on RQ."""

from collections.abc import Iterator
from datetime import timedelta
from threading import Thread

import pytest
from rq import Callback
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.webhook import Webhook

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings
from app.devkit.processes import wait_until
from app.domain.errors import UnfitRedis
from app.store.agenda import DELIVER, POLL
from app.store.deployment_stats import DeploymentStatsReader
from app.store.dispatcher_lock import LOCK_LIFE
from app.store.engine import keys
from app.store.engine.clock import RedisClock, steady_clock
from tests.support.claims import answer_polls, claim_due
from tests.support.log_lines import event_names
from workers.dispatcher import Dispatcher
from workers.engine.stop_flag import StopFlag
from workers.rq_queues import DRAIN, DrainJob, enqueue_drain, queue


class ManualSteady:
    """A steady clock that jumps ahead: as if Redis' clock leapt back."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return steady_clock() + self.ahead


@pytest.fixture
def dispatcher(runtime: Runtime) -> Dispatcher:
    return Dispatcher(runtime)


def queued(stores: Stores, kind: str) -> int:
    return queue(kind, stores).count


def test_the_dispatcher_which_needs_no_key_at_rest_does_not_say_that_one_is_missing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    Dispatcher(Runtime(settings.model_copy(update={"secret_keys": None}))).tick()

    assert event_names(caplog, "secrets.") == []


def test_what_is_due_wakes_one_worker_however_often_the_dispatcher_ticks(
    stores: Stores, dispatcher: Dispatcher, registration
) -> None:
    for number in range(50):
        stores.registrations.add(registration(f"job-{number}", at=stores.clock()))
    for _ in range(10):
        dispatcher.tick()
    assert (queued(stores, POLL), queued(stores, DELIVER)) == (1, 0)


def test_nothing_due_wakes_nobody(stores: Stores, dispatcher: Dispatcher) -> None:
    assert dispatcher.tick() is None
    assert queued(stores, POLL) == 0


def test_the_next_tick_is_when_something_falls_due(stores: Stores, dispatcher: Dispatcher, registration) -> None:
    deadline = stores.clock() + timedelta(seconds=30)
    stores.registrations.add(registration(at=stores.clock(), deadline_at=deadline))
    claim_due(stores.polls_due, stores.clock(), 10)
    next_tick = dispatcher.tick()
    assert next_tick is not None
    assert abs(next_tick - deadline) < timedelta(milliseconds=2)


def test_rq_jobs_that_were_lost_are_enqueued_again(stores: Stores, dispatcher: Dispatcher, registration) -> None:
    stores.registrations.add(registration(at=stores.clock()))
    dispatcher.tick()
    for key in stores.rq_redis.keys("rq:*"):
        stores.rq_redis.delete(key)
    dispatcher.tick()
    assert queued(stores, POLL) == 1


def test_a_queue_of_a_wrong_type_is_replaced(stores: Stores, dispatcher: Dispatcher, registration, caplog) -> None:
    stores.rq_redis.set("rq:queue:cph-poll", "x")
    stores.registrations.add(registration(at=stores.clock()))
    dispatcher.tick()
    assert queued(stores, POLL) == 1
    assert event_names(caplog, "record.") == ["record.unreadable"]


def test_what_is_overdue_is_polled_once_more_and_then_ended_by_the_dispatcher(
    stores: Stores, dispatcher: Dispatcher, registration, deliveries_of
) -> None:
    stores.registrations.add(registration(deadline_at=stores.clock() - timedelta(seconds=1)))
    dispatcher.tick()
    assert queued(stores, POLL) == 1
    assert deliveries_of() == []
    assert answer_polls(stores, stores.clock()) == 1
    wait_until(lambda: dispatcher.tick() is None or deliveries_of(), what="the end of the registration")
    assert [delivery.type for delivery in deliveries_of()] == ["job.overdue"]
    assert queued(stores, DELIVER) == 1


@pytest.fixture
def two_runtimes(runtime: Runtime, settings: Settings) -> Iterator[tuple[Runtime, Runtime]]:
    other = Runtime(settings)
    yield runtime, other
    other.stores.redis.close()


def test_one_is_active_and_the_others_stand_by_until_it_releases_the_lock(
    two_runtimes: tuple[Runtime, Runtime],
) -> None:
    first, second = (runtime.stores.dispatcher_lock for runtime in two_runtimes)
    assert first.acquire()
    assert not second.acquire()
    assert first.acquire()
    second.release()  # no effect: it does not hold the lock
    assert not second.acquire()
    first.release()
    assert second.acquire()


def test_a_lock_from_before_redis_clock_leapt_back_expires_in_time(two_runtimes: tuple[Runtime, Runtime]) -> None:
    first, second = (runtime.stores.dispatcher_lock for runtime in two_runtimes)
    assert first.acquire()
    name = keys.lock("dispatcher")
    redis = two_runtimes[0].stores.redis
    redis.expire(name, 86_400)
    assert not second.acquire()
    assert 0 < redis.pttl(name) <= LOCK_LIFE.total_seconds() * 1000
    before = redis.pttl(name)
    assert not second.acquire()
    assert redis.pttl(name) <= before


def test_a_dispatcher_that_stands_by_sees_redis_clock_leap(two_runtimes: tuple[Runtime, Runtime]) -> None:
    active, other = two_runtimes
    assert active.stores.dispatcher_lock.acquire()
    steady = ManualSteady()
    other.stores.clock = RedisClock(other.stores.scripts, steady, steady, "other")
    other.stores.clock()
    stopping = StopFlag()
    thread = Thread(target=Dispatcher(other).run, args=(stopping,))
    thread.start()
    try:
        steady.ahead = 3_600.0
        wait_until(lambda: active.stores.redis.hget(keys.clock_leaps(), "other"), timeout=5, what="its report")
    finally:
        stopping.set()
        thread.join()


def test_a_mark_makes_the_dispatcher_tick_now(stores: Stores, dispatcher: Dispatcher, registration) -> None:
    stopping = StopFlag()
    thread = Thread(target=dispatcher.run, args=(stopping,))
    thread.start()
    try:
        stores.registrations.add(registration(at=stores.clock()))
        wait_until(lambda: queued(stores, POLL), what="an RQ job")
    finally:
        stopping.set()
        thread.join(10)
    assert stores.redis.keys("cph:lock:*") == []


def test_no_other_function_runs_on_rq(stores: Stores) -> None:
    target = queue(POLL, stores)
    target.enqueue_call("os.system", args=("true",))
    (job,) = target.get_jobs()
    with pytest.raises(PermissionError):
        job.perform()


@pytest.mark.parametrize(("own", "other"), [(POLL, DELIVER), (DELIVER, POLL)])
def test_a_worker_runs_no_drain_of_the_other_kind(stores: Stores, own: str, other: str) -> None:
    """Whoever can write to Redis could make a worker do what it has no rights for."""
    enqueue_drain(queue(own, stores), other, 60)
    (job,) = queue(own, stores).get_jobs()
    with pytest.raises(PermissionError, match=own):
        job.perform()


def test_an_rq_job_carries_nothing_but_its_kind(stores: Stores) -> None:
    target = queue(DELIVER, stores)
    enqueue_drain(target, DELIVER, 60)
    (job,) = target.get_jobs()
    assert (job.func_name, job.args, job.kwargs) == (DRAIN, ["deliver"], {})


def test_what_else_a_stranger_put_into_an_rq_job_is_not_there(stores: Stores) -> None:
    Job.create(
        DRAIN,
        args=("poll",),
        id="forged",
        connection=stores.rq_redis,
        on_success=Callback("os.abort"),
        on_failure=Callback("os.abort"),
        on_stopped=Callback("os.abort"),
        webhooks=[Webhook("http://127.0.0.1:9/", "finished")],
        serializer=JSONSerializer,
    ).save()
    forged = DrainJob.fetch("forged", connection=stores.rq_redis, serializer=JSONSerializer)
    assert (forged.success_callback, forged.failure_callback, forged.stopped_callback) == (None, None, None)
    assert forged.webhooks == []


def test_a_wake_list_of_a_wrong_type_stops_nobody(stores: Stores) -> None:
    stores.redis.set(keys.wake(DELIVER), "x")
    stores.dispatcher_lock.wait([POLL, DELIVER], 0.01)
    assert stores.redis.keys(f"{keys.wake('*')}") == []
    assert stores.reconciler.unreadable() == [keys.wake(DELIVER)]


@pytest.mark.slow
def test_its_ticks_and_what_it_has_ended_are_reported_for_metrics(
    stores: Stores, dispatcher: Dispatcher, registration
) -> None:
    stores.registrations.add(registration(deadline_at=stores.clock() - timedelta(seconds=1)))
    stopping = StopFlag()
    thread = Thread(target=dispatcher.run, args=(stopping,))
    thread.start()
    stats_reader = DeploymentStatsReader(stores.scripts)
    try:
        wait_until(lambda: answer_polls(stores, stores.clock()), what="the last poll")
        wait_until(lambda: stats_reader.read(stores.clock()).overdue, what="a heartbeat with what has ended")
    finally:
        stopping.set()
        thread.join()
    stats = stats_reader.read(stores.clock())
    assert stats.overdue == 1
    assert stats.tick_age is not None
    assert stats.tick_age < timedelta(seconds=5)


def test_a_dispatcher_does_nothing_on_a_redis_that_is_unfit(stores: Stores, dispatcher: Dispatcher) -> None:
    stores.redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(UnfitRedis, match="set maxmemory-policy noeviction"):
            dispatcher.run(StopFlag())
        assert stores.redis.keys("*") == []
    finally:
        stores.redis.config_set("maxmemory-policy", "noeviction")
