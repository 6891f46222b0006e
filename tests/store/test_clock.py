"""The deployment's time goes on when Redis' clock leaps.

Here Redis' clock is right, and the steady clocks of processes fall back instead: a process cannot tell the difference.
"""

from datetime import timedelta
from secrets import token_hex

import pytest

from app.bootstrap.stores import Stores
from app.domain.times import from_ms
from app.store.deployment_stats import DeploymentStatsReader
from app.store.engine import keys
from app.store.engine.clock import ALONE_S, RedisClock, steady_clock

HOUR_S = 3600.0
NEAR_S = 0.5


class ClockProcess:
    """A process with a clock. leap: how far Redis' clock has leapt, as it sees it. wall: of its own, from Redis'."""

    def __init__(self, stores: Stores, wall_s: float = 0.0, name: str | None = None, vote_s: float = 0.0) -> None:
        self.leap = 0.0
        self.wall_s = wall_s
        self._redis = stores.redis
        # Redis' clock is that of this machine.
        self.clock = RedisClock(
            stores.scripts,
            lambda: self._redis_now() + self.wall_s,
            lambda: steady_clock() - self.leap,
            name or token_hex(4),
            vote_s=vote_s,
        )
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


def test_a_leap_back_takes_the_correction_back(stores: Stores, processes: list[ClockProcess]) -> None:
    leap(processes, HOUR_S)
    leap(processes, -HOUR_S)
    assert not stores.redis.exists(keys.clock())
    assert all(process.clock.correction == timedelta() for process in processes)
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


def test_two_processes_of_a_machine_that_was_paused_do_not_outvote_the_others(stores: Stores) -> None:
    paused = [ClockProcess(stores, vote_s=1.0) for _ in range(2)]
    others = [ClockProcess(stores) for _ in range(2)]
    leap(paused, HOUR_S)
    leap(others, 0)
    for process in paused:
        process.leap -= 1.0  # the vote is over
        process.measure()
    assert not stores.redis.exists(keys.clock())
    assert all(process.behind == pytest.approx(0, abs=NEAR_S) for process in others)
    for process in paused:
        process.leap -= ALONE_S
        process.measure()
        assert process.behind == pytest.approx(0, abs=NEAR_S)


def test_a_process_that_starts_after_a_leap_follows_the_others(stores: Stores, processes: list[ClockProcess]) -> None:
    """It does not know the time before, and would have voted for the new one."""
    for process in processes:
        process.leap = HOUR_S
    late = [ClockProcess(stores, vote_s=1.0) for _ in range(2)]
    leap(processes, 0)
    leap(late, 0)
    leap(processes, 0)
    for seconds in (1.0, ALONE_S):  # the vote, then giving up
        leap(late, -seconds)
    assert all(observer.behind == pytest.approx(HOUR_S, abs=NEAR_S) for observer in processes + late)


def test_a_process_that_starts_while_a_leap_is_disputed_waits(stores: Stores, processes: list[ClockProcess]) -> None:
    leap(processes[:1], HOUR_S)
    late = ClockProcess(stores, wall_s=-HOUR_S)
    assert late.behind == pytest.approx(HOUR_S, abs=NEAR_S)  # by its own clock
    leap(processes[1:], HOUR_S)
    late.measure()
    assert late.behind == pytest.approx(HOUR_S, abs=NEAR_S)
    assert late.clock.correction.total_seconds() == pytest.approx(-HOUR_S, abs=NEAR_S)


def test_a_clock_that_jumps_to_and_fro_is_not_followed(processes: list[ClockProcess]) -> None:
    alone = processes[0]
    for sign in (1, -1) * 3:
        alone.leap = sign * HOUR_S
        alone.measure()
        assert alone.behind == pytest.approx(sign * HOUR_S, abs=NEAR_S)


def test_two_processes_that_see_different_leaps_correct_nothing(stores: Stores, processes: list[ClockProcess]) -> None:
    leap(processes[:1], HOUR_S)
    leap(processes[1:2], 2 * HOUR_S)
    assert not stores.redis.exists(keys.clock())


def test_a_small_change_is_drift(processes: list[ClockProcess]) -> None:
    leap(processes[:1], 1)
    assert processes[0].behind == pytest.approx(0, abs=NEAR_S)


def test_a_correction_that_cannot_be_read_is_none(stores: Stores) -> None:
    stores.redis.hset(keys.clock(), "correction", "an hour")
    assert ClockProcess(stores).behind == pytest.approx(0, abs=NEAR_S)


@pytest.mark.parametrize(("wall_s", "leap_s"), [(0.0, HOUR_S), (HOUR_S, 0.0), (-86_400.0, 0.0)])
def test_one_wrong_clock_signs_no_wrong_time(stores: Stores, wall_s: float, leap_s: float) -> None:
    """Here a leap leaves Redis' clock right and the time of the deployment behind."""
    processes = [ClockProcess(stores, wall_s) for _ in range(2)]
    leap(processes, leap_s)
    assert processes[0].signs_ahead() == pytest.approx(0, abs=NEAR_S)


def test_two_clocks_of_one_process_are_one_witness(stores: Stores) -> None:
    """A machine that was paused, with all its clocks, is wrong about Redis' clock."""
    leap([ClockProcess(stores, name="api 7") for _ in range(2)], HOUR_S)
    assert not stores.redis.exists(keys.clock())


@pytest.mark.parametrize(("last_tick_s", "behind_s"), [(HOUR_S, -HOUR_S), (-HOUR_S, 0.0), (9e9, 0.0)])
def test_time_does_not_go_back_while_no_process_runs(stores: Stores, last_tick_s: float, behind_s: float) -> None:
    """Somebody set Redis' clock right meanwhile. A last tick of the far future is damage."""
    seconds, _ = stores.redis.time()
    stores.redis.hset(keys.counts(), "looked", int((seconds + last_tick_s) * 1000))
    processes = [ClockProcess(stores) for _ in range(2)]
    for process in processes * 2:
        process.measure()
        assert process.behind == pytest.approx(behind_s, abs=2)
    assert processes[0].clock.correction.total_seconds() == pytest.approx(-behind_s, abs=2)


def test_a_process_that_starts_while_redis_clock_alone_is_ahead_does_not_follow_it(stores: Stores) -> None:
    seconds, _ = stores.redis.time()
    stores.redis.hset(keys.counts(), "looked", int((seconds - HOUR_S) * 1000))
    assert ClockProcess(stores, wall_s=-HOUR_S).behind == pytest.approx(HOUR_S, abs=2)
    assert ClockProcess(stores).behind == pytest.approx(0, abs=NEAR_S)  # the dispatcher has not run for an hour


def test_a_correction_says_since_when(stores: Stores, processes: list[ClockProcess]) -> None:
    leap(processes, HOUR_S)
    since = stores.redis.hget(keys.clock(), "since")
    assert abs(from_ms(int(since)) - processes[0].clock()) < timedelta(seconds=2)
    leap(processes, HOUR_S)
    assert stores.redis.hget(keys.clock(), "since") == since


def test_a_machine_with_a_wrong_clock_is_known_until_it_is_right(stores: Stores, processes: list[ClockProcess]) -> None:
    def wrong() -> list[float]:
        clocks = DeploymentStatsReader(stores.scripts).read(processes[0].clock()).clocks
        return [ahead.total_seconds() for ahead in clocks.values()]

    own = processes[1]
    assert wrong() == []
    for own.wall_s in (HOUR_S, -86_400.0):
        own.measure()
        assert wrong() == [pytest.approx(own.wall_s, abs=NEAR_S)]
    own.wall_s = 1.0
    own.measure()
    assert wrong() == []


def test_when_redis_clock_has_leapt_it_alone_is_wrong(stores: Stores) -> None:
    """Here a leap leaves Redis' clock where it was, and the clocks of machines fall behind with the steady ones."""
    processes = [ClockProcess(stores) for _ in range(2)]
    for process in processes:
        process.wall_s = -HOUR_S
    leap(processes, HOUR_S)
    clocks = DeploymentStatsReader(stores.scripts).read(processes[0].clock()).clocks
    assert {name: ahead.total_seconds() for name, ahead in clocks.items()} == {"redis": pytest.approx(HOUR_S, abs=1)}
