"""When a job is asked for again."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.domain.cadence import SHARE, Cadence

ages = st.timedeltas(timedelta(days=-1), timedelta(days=8))
bounds = st.lists(st.timedeltas(timedelta(milliseconds=50), timedelta(minutes=5)), min_size=2, max_size=2).map(sorted)


@given(age=ages, bounds=bounds)
def test_a_wait_is_never_below_its_floor(age: timedelta, bounds: list[timedelta]) -> None:
    assert Cadence(*bounds).wait(age) >= bounds[0]


@given(age=ages, bounds=bounds)
def test_a_wait_is_never_longer_than_its_share_of_the_age_beyond_the_floor(
    age: timedelta, bounds: list[timedelta]
) -> None:
    assert Cadence(*bounds).wait(age) <= max(age * SHARE, bounds[0])


@given(age=ages, bounds=bounds)
def test_a_wait_is_never_above_its_ceiling(age: timedelta, bounds: list[timedelta]) -> None:
    assert Cadence(*bounds).wait(age) <= bounds[1]


@given(ages=st.lists(ages, min_size=2, max_size=2).map(sorted), bounds=bounds)
def test_an_older_job_is_never_asked_for_more_often(ages: list[timedelta], bounds: list[timedelta]) -> None:
    cadence = Cadence(*bounds)
    assert cadence.wait(ages[0]) <= cadence.wait(ages[1])
