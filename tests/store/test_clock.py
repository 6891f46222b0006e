"""The deployment's time goes on when Redis' clock leaps.

Here Redis' clock is right, and the steady clocks of processes fall back instead: a process cannot tell the difference.
"""

from datetime import timedelta

import pytest

from app.bootstrap.stores import Stores
from app.store.engine import keys
from app.store.engine.clock import ALONE_S, RedisClock, steady_clock

HOUR_S = 3600.0
NEAR_S = 0.5


class ClockProcess:
    """A process with a clock. leap: how far Redis' clock has leapt, as it sees it."""

    def __init__(self, stores: Stores, wall_s: float = 0.0) -> None:
        self.leap = 0.0
        self._redis = stores.redis
        # Redis' clock is that of this machine.
        self.clock = RedisClock(stores.scripts, lambda: self._redis_now() + wall_s, lambda: steady_clock() - self.leap)
        self.measure()

    def measure(self) -> None:
        self.clock._refresh_at = float("-inf")
        self.clock()

    @property
    def behind(self) -> float:
        """By how many seconds its time is behind Redis' clock."""
        return self._redis_now() - self.clock().timestamp()

    def signs_ahead(self) -> float:
        """By how many seconds its signatures are ahead of Redis' clock."""
        return self.clock.to_sign(self.clock()).timestamp() - self._redis_now()

    def _redis_now(self) -> float:
        seconds, microseconds = self._redis.time()
        return float(seconds + microseconds / 1e6)


@pytest.fixture
def processes(stores: Stores) -> list[ClockProcess]:
    return [ClockProcess(stores) for _ in range(3)]


def leap(processes: list[ClockProcess], seconds: float) -> None:
    for process in processes:
        process.leap += seconds
    for _ in range(2):
        for process in processes:
            process.measure()


@pytest.mark.parametrize("leap_s", [HOUR_S, -HOUR_S, 86_400.0, -86_400.0, 10.0])
def test_time_goes_on_when_two_processes_see_redis_clock_leap(
    stores: Stores, processes: list[ClockProcess], leap_s: float
) -> None:
    for process in processes:
        process.leap = leap_s
    for _ in range(3):
        for process in processes:
            process.measure()
            assert process.behind == pytest.approx(leap_s, abs=NEAR_S)
    corrections = [process.clock.correction.total_seconds() for process in processes]
    assert corrections == [pytest.approx(-leap_s, abs=NEAR_S)] * 3
    assert ClockProcess(stores).behind == pytest.approx(leap_s, abs=NEAR_S)  # one that has just started


def test_a_leap_back_takes_the_correction_back(processes: list[ClockProcess]) -> None:
    leap(processes, HOUR_S)
    leap(processes, -HOUR_S)
    assert all(abs(process.clock.correction) < timedelta(seconds=NEAR_S) for process in processes)
    assert all(process.behind == pytest.approx(0, abs=NEAR_S) for process in processes)


def test_a_process_that_sees_a_leap_alone_was_suspended_itself(stores: Stores, processes: list[ClockProcess]) -> None:
    alone, *others = processes
    leap([alone], HOUR_S)
    assert alone.behind == pytest.approx(HOUR_S, abs=NEAR_S)
    alone.leap -= ALONE_S
    alone.measure()
    assert alone.behind == pytest.approx(0, abs=NEAR_S)
    assert not stores.redis.exists(keys.clock())
    assert all(process.behind == pytest.approx(0, abs=NEAR_S) for process in others)


def test_two_processes_that_see_different_leaps_correct_nothing(stores: Stores, processes: list[ClockProcess]) -> None:
    leap(processes[:1], HOUR_S)
    leap(processes[1:2], 2 * HOUR_S)
    assert not stores.redis.exists(keys.clock())


def test_a_small_change_is_drift(processes: list[ClockProcess]) -> None:
    leap(processes[:1], 1)
    assert processes[0].behind == pytest.approx(0, abs=NEAR_S)


def test_a_correction_that_cannot_be_read_is_none(stores: Stores) -> None:
    stores.redis.set(keys.clock(), "an hour")
    assert ClockProcess(stores).behind == pytest.approx(0, abs=NEAR_S)


@pytest.mark.parametrize(("wall_s", "leap_s"), [(0.0, HOUR_S), (HOUR_S, 0.0), (-86_400.0, 0.0)])
def test_one_wrong_clock_signs_no_wrong_time(stores: Stores, wall_s: float, leap_s: float) -> None:
    """Here a leap leaves Redis' clock right and the time of the deployment behind."""
    processes = [ClockProcess(stores, wall_s) for _ in range(2)]
    leap(processes, leap_s)
    assert processes[0].signs_ahead() == pytest.approx(0, abs=NEAR_S)
