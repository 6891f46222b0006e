"""What survives: workers killed at any moment (at each point: test_promises.py), Redis killed, restarts."""

import pytest

from app.devkit.processes import PATIENCE_S, wait_until

pytestmark = pytest.mark.slow  # processes start, and die


def test_workers_killed_at_any_moment_lose_nothing(whole) -> None:
    registrations = [whole.register(whole.job(duration_s=number / 20)) for number in range(60)]
    for _ in range(2):
        pair = [whole.start_worker(kind) for kind in ("poll", "deliver")]
        before = len(whole.receiver.callbacks)
        wait_until(lambda: len(whole.receiver.callbacks) > before, what="more callbacks")  # noqa: B023
        for process in pair:
            process.kill()
    for kind in ("poll", "deliver"):
        whole.start_worker(kind)
    whole.wait_until_delivered(*registrations)
    assert whole.one_event_each()
    assert len(whole.receiver.ids()) == 60


def test_redis_killed_and_restarted_in_the_middle_loses_nothing(workers) -> None:
    registrations = [workers.register(workers.job(duration_s=number / 10)) for number in range(30)]
    workers.receiver.wait_for(5)
    workers.bridge.redis.kill()
    workers.bridge.redis.start()
    workers.wait_until_delivered(*registrations)
    assert workers.one_event_each()
    assert len(workers.receiver.ids()) == 30


def test_the_queues_of_rq_flushed_in_the_middle_lose_nothing(workers) -> None:
    registrations = [workers.register(workers.job(duration_s=number / 10)) for number in range(20)]
    workers.receiver.wait_for(3)
    workers.forget_rq()
    workers.wait_until_delivered(*registrations)
    assert len(workers.receiver.ids()) == 20


@pytest.mark.parametrize("kind", ["poll", "deliver"])
def test_a_worker_told_to_stop_finishes_what_is_in_hand(whole, kind: str) -> None:
    processes = {each: whole.start_worker(each) for each in ("poll", "deliver")}
    registrations = [whole.register(whole.job(duration_s=1)) for _ in range(20)]
    whole.receiver.wait_for(1)
    assert processes[kind].stop(PATIENCE_S) == 0
    whole.start_worker(kind)
    whole.wait_until_delivered(*registrations)
    assert set(whole.receiver.ids().values()) == {1}


def test_a_worker_that_starts_before_redis_waits_for_it(whole) -> None:
    whole.bridge.redis.stop()
    worker = whole.start_worker("poll")
    wait_until(lambda: "waits" in whole.log_of("worker-poll"), what="a word about Redis")
    assert worker.exit_code is None
    whole.bridge.redis.start()
    whole.start_worker("deliver")
    registration = whole.register(whole.job())
    whole.wait_until_delivered(registration)


def test_a_worker_that_lacks_a_setting_says_so_and_ends(whole) -> None:
    worker = whole.start_worker("poll", BRIDGE_CPH_PROJECT_ID="")
    wait_until(lambda: worker.exit_code is not None, what="the worker's end")
    assert worker.exit_code == 2
    assert "set BRIDGE_CPH_PROJECT_ID" in whole.log_of("worker-poll")


def test_a_second_worker_takes_over_from_one_that_stands_still(whole) -> None:
    whole.start_worker("poll")
    stalled = whole.start_worker("deliver")
    whole.receiver.gate.clear()
    registration = whole.register(whole.job())
    whole.receiver.wait_for(1)
    whole.freeze(stalled)
    whole.receiver.gate.set()
    whole.start_worker("deliver")
    whole.wait_until_delivered(registration)
    whole.thaw(stalled)
    later = whole.register(whole.job())
    whole.wait_until_delivered(later)
    assert whole.one_event_each()
