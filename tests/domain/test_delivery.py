"""The retries of a delivery, and when it is given up."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.delivery import (
    CHAT_MAX_AGE,
    JITTER,
    Death,
    DeliveryState,
    NextStep,
    RetrySchedule,
    TryCount,
    abandon_before_send,
    next_step,
)
from app.domain.verdict import Verdict, by_status

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WAITS = tuple(timedelta(seconds=wait) for wait in (5, 30, 120))
SCHEDULE = RetrySchedule(WAITS)


def step_after(
    attempt: int, verdict: Verdict, jitter: float = 0.0, retry_after: timedelta | None = None, refused: int = 0
) -> NextStep:
    tries = TryCount(attempt, NOW, refused)
    return next_step(tries, verdict, schedule=SCHEDULE, now=NOW, jitter=jitter, retry_after=retry_after)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (299, Verdict.DELIVERED),
        (301, Verdict.REFUSED),
        (304, Verdict.REFUSED),
        (400, Verdict.REFUSED),
        (401, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (408, Verdict.RETRY),
        (410, Verdict.GONE),
        (425, Verdict.RETRY),
        (499, Verdict.RETRY),
        (429, Verdict.RETRY),
        (500, Verdict.RETRY),
        (503, Verdict.RETRY),
        (599, Verdict.RETRY),
        (199, Verdict.REFUSED),
    ],
)
def test_a_status_means_what_the_contract_says(status: int, verdict: Verdict) -> None:
    assert by_status(status) is verdict


def test_a_delivery_that_arrived_is_over() -> None:
    assert step_after(1, Verdict.DELIVERED) == NextStep(DeliveryState.DELIVERED)


def test_each_retry_waits_as_the_schedule_says_and_the_last_one_is_the_end() -> None:
    assert [step_after(attempt, Verdict.RETRY) for attempt in (1, 2, 3, 4)] == [
        NextStep(DeliveryState.PENDING, NOW + WAITS[0]),
        NextStep(DeliveryState.PENDING, NOW + WAITS[1]),
        NextStep(DeliveryState.PENDING, NOW + WAITS[2]),
        NextStep(DeliveryState.DEAD, death=Death.TRIES),
    ]


def test_gone_is_the_end_at_once() -> None:
    assert step_after(1, Verdict.GONE) == NextStep(DeliveryState.DEAD, death=Death.GONE)


def test_what_is_refused_is_tried_three_times() -> None:
    steps = [step_after(attempt, Verdict.REFUSED, refused=attempt - 1) for attempt in (1, 2, 3)]
    assert [each.death for each in steps] == [None, None, Death.REFUSED]


def test_one_refusal_after_failures_of_another_kind_is_no_end() -> None:
    assert step_after(3, Verdict.REFUSED).state is DeliveryState.PENDING
    assert step_after(4, Verdict.REFUSED).death is Death.TRIES


@pytest.mark.parametrize("death", Death)
def test_every_death_is_reported_in_words(death: Death) -> None:
    assert " " in death.description


def test_retry_after_is_a_floor() -> None:
    assert step_after(1, Verdict.RETRY, retry_after=timedelta(seconds=60)).due == NOW + timedelta(seconds=60)
    assert step_after(2, Verdict.RETRY, retry_after=timedelta(seconds=1)).due == NOW + WAITS[1]


def test_retry_after_does_not_outlive_the_delivery() -> None:
    assert step_after(1, Verdict.RETRY, retry_after=timedelta(days=365)).due == NOW + SCHEDULE.max_lifetime


@given(
    attempt=st.integers(1, 3),
    jitter=st.floats(0, 1),
    waits=st.lists(st.timedeltas(timedelta(seconds=1), timedelta(days=2)), min_size=3, max_size=12),
)
def test_a_retry_comes_up_to_a_tenth_later_and_never_earlier(
    attempt: int, jitter: float, waits: list[timedelta]
) -> None:
    schedule = RetrySchedule(tuple(waits))
    due = next_step(TryCount(attempt, NOW), Verdict.RETRY, schedule=schedule, now=NOW, jitter=jitter).due
    assert due is not None
    assert waits[attempt - 1] <= due - NOW <= waits[attempt - 1] * (1 + JITTER) + timedelta(microseconds=1)


@given(
    waits=st.lists(st.timedeltas(timedelta(seconds=1), timedelta(days=1)), min_size=1, max_size=10),
    jitter=st.floats(0, 1),
    retry_after=st.timedeltas(timedelta(), timedelta(days=400)),
)
def test_every_retry_lies_within_the_life_of_the_delivery(
    waits: list[timedelta], jitter: float, retry_after: timedelta
) -> None:
    schedule = RetrySchedule(tuple(waits))
    now = NOW
    for attempt in range(1, schedule.attempts):
        due = next_step(
            TryCount(attempt, NOW), Verdict.RETRY, schedule=schedule, now=now, jitter=jitter, retry_after=retry_after
        ).due
        assert due is not None
        longest = waits[attempt - 1] * (1 + JITTER)
        assert due <= max(NOW + schedule.max_lifetime, now + longest) + timedelta(milliseconds=1)
        now = due


SECOND = timedelta(seconds=1)
CHAT = RetrySchedule(
    tuple(wait * SECOND for wait in (30, 120, 600, 1_800)), max_age=CHAT_MAX_AGE, drops_duplicates=False
)


def chat_step_after(
    tries: TryCount, verdict: Verdict = Verdict.RETRY, *, late: timedelta = timedelta(), **more: timedelta
) -> NextStep:
    return next_step(tries, verdict, schedule=CHAT, now=NOW + late, jitter=1.0, **more)


def test_people_are_notified_within_an_hour_by_five_tries() -> None:
    assert CHAT.attempts == 5
    assert CHAT.max_lifetime < CHAT_MAX_AGE
    assert chat_step_after(TryCount(4, NOW), late=1_000 * SECOND).state is DeliveryState.PENDING


def test_people_are_not_notified_of_what_is_old() -> None:
    assert chat_step_after(TryCount(2, NOW), late=CHAT_MAX_AGE - 60 * SECOND) == NextStep(
        DeliveryState.DEAD, death=Death.LATE
    )
    late = NOW + CHAT_MAX_AGE + SECOND
    assert abandon_before_send(TryCount(2, NOW), CHAT, late) is Death.LATE
    assert abandon_before_send(TryCount(2, NOW), CHAT, late - 2 * SECOND) is None
    assert abandon_before_send(TryCount(2, NOW), SCHEDULE, late) is None


def test_what_has_only_waited_is_reported_however_late() -> None:
    assert abandon_before_send(TryCount(1, NOW), CHAT, NOW + 24 * CHAT_MAX_AGE) is None


def test_after_an_attempt_that_may_have_arrived_there_is_one_more_and_no_other() -> None:
    assert chat_step_after(TryCount(1, NOW)).state is DeliveryState.PENDING
    assert abandon_before_send(TryCount(2, NOW, doubtful=1), CHAT, NOW) is None
    assert chat_step_after(TryCount(2, NOW, doubtful=1)) == NextStep(DeliveryState.DEAD, death=Death.DOUBTFUL)
    assert chat_step_after(TryCount(2, NOW, doubtful=1), Verdict.DELIVERED) == NextStep(DeliveryState.DELIVERED)


def test_workers_that_end_in_the_middle_leave_doubt_too() -> None:
    assert abandon_before_send(TryCount(3, NOW, doubtful=2), CHAT, NOW) is Death.DOUBTFUL


def test_machines_discard_what_comes_twice() -> None:
    assert abandon_before_send(TryCount(3, NOW, doubtful=2), SCHEDULE, NOW) is None
    assert next_step(TryCount(2, NOW, doubtful=1), Verdict.RETRY, schedule=SCHEDULE, now=NOW, jitter=0).due is not None


def test_what_was_begun_more_often_than_the_schedule_has_tries_is_given_up() -> None:
    assert abandon_before_send(TryCount(SCHEDULE.attempts, NOW), SCHEDULE, NOW) is None
    assert abandon_before_send(TryCount(SCHEDULE.attempts + 1, NOW), SCHEDULE, NOW) is Death.GIVEN_UP
