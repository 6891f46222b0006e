"""Nothing is lost when workers are killed at any moment or Redis is killed or restarted.

test_promises.py kills workers at each point of their work.
"""

import pytest

from app.devkit.processes import PATIENCE_S, wait_until

pytestmark = pytest.mark.slow  # starts and kills processes


def test_workers_killed_at_any_moment_lose_nothing(deployment) -> None:
    registrations = [deployment.register(deployment.job(duration_s=number / 20)) for number in range(60)]
    for _ in range(2):
        pair = [deployment.start_worker(kind) for kind in ("poll", "deliver")]
        before = len(deployment.receiver.callbacks)
        wait_until(lambda: len(deployment.receiver.callbacks) > before, what="more callbacks")  # noqa: B023
        for process in pair:
            process.kill()
    for kind in ("poll", "deliver"):
        deployment.start_worker(kind)
    deployment.wait_until_delivered(*registrations)
    assert deployment.one_event_each()
    assert len(deployment.receiver.ids()) == 60


def test_redis_killed_and_restarted_in_the_middle_loses_nothing(running_deployment) -> None:
    registrations = [
        running_deployment.register(running_deployment.job(duration_s=number / 10)) for number in range(30)
    ]
    running_deployment.receiver.wait_for(5)
    running_deployment.bridge.redis.kill()
    running_deployment.bridge.redis.start()
    running_deployment.wait_until_delivered(*registrations)
    assert running_deployment.one_event_each()
    assert len(running_deployment.receiver.ids()) == 30


def test_the_queues_of_rq_flushed_in_the_middle_lose_nothing(running_deployment) -> None:
    registrations = [
        running_deployment.register(running_deployment.job(duration_s=number / 10)) for number in range(20)
    ]
    running_deployment.receiver.wait_for(3)
    running_deployment.delete_rq_keys()
    running_deployment.wait_until_delivered(*registrations)
    assert len(running_deployment.receiver.ids()) == 20


@pytest.mark.parametrize("kind", ["poll", "deliver"])
def test_a_worker_told_to_stop_finishes_what_is_in_hand(deployment, kind: str) -> None:
    processes = {each: deployment.start_worker(each) for each in ("poll", "deliver")}
    registrations = [deployment.register(deployment.job(duration_s=1)) for _ in range(20)]
    deployment.receiver.wait_for(1)
    assert processes[kind].stop(PATIENCE_S) == 0
    deployment.start_worker(kind)
    deployment.wait_until_delivered(*registrations)
    assert set(deployment.receiver.ids().values()) == {1}


def test_a_worker_that_starts_before_redis_waits_for_it(deployment) -> None:
    deployment.bridge.redis.stop()
    worker = deployment.start_worker("poll")
    wait_until(lambda: "waits" in deployment.log_of("worker-poll"), what="a log line about Redis")
    assert worker.exit_code is None
    deployment.bridge.redis.start()
    deployment.start_worker("deliver")
    registration = deployment.register(deployment.job())
    deployment.wait_until_delivered(registration)


def test_a_worker_that_lacks_a_setting_says_so_and_ends(deployment) -> None:
    worker = deployment.start_worker("poll", BRIDGE_CPH_PROJECT_ID="")
    wait_until(lambda: worker.exit_code is not None, what="the worker's end")
    assert worker.exit_code == 2
    assert "set BRIDGE_CPH_PROJECT_ID" in deployment.log_of("worker-poll")


def test_a_second_worker_takes_over_from_one_that_stands_still(deployment) -> None:
    deployment.start_worker("poll")
    frozen_worker = deployment.start_worker("deliver")
    deployment.receiver.gate.clear()
    registration = deployment.register(deployment.job())
    deployment.receiver.wait_for(1)
    deployment.freeze(frozen_worker)
    deployment.receiver.gate.set()
    deployment.start_worker("deliver")
    deployment.wait_until_delivered(registration)
    deployment.thaw(frozen_worker)
    later = deployment.register(deployment.job())
    deployment.wait_until_delivered(later)
    assert deployment.one_event_each()
