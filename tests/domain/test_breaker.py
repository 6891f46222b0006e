"""The pauses of a circuit breaker."""

from datetime import timedelta

from app.domain.breaker import PAUSES, pauses

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def test_each_pause_is_twice_the_one_before_up_to_the_longest() -> None:
    assert pauses(SECOND, 5 * SECOND) == (SECOND, 2 * SECOND, 4 * SECOND, 5 * SECOND)
    assert pauses(SECOND, SECOND) == (SECOND,)
    assert (PAUSES[0], PAUSES[-1]) == (MINUTE, 60 * MINUTE)
