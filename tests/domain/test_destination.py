"""The signal of an attempt, and the health of its destination."""

from datetime import UTC, datetime, timedelta

import pytest

from app.config.settings import Settings
from app.domain.delivery import RetrySchedule
from app.domain.destination import (
    DISABLED_AFTER,
    PAUSES,
    AttemptSignal,
    Breaker,
    Destination,
    DestinationState,
    attempt_signal,
    bot_at,
    format_of,
    is_bot,
    lane_of,
    origin_of,
    split_lane,
)
from app.domain.verdict import Verdict

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DEADLINE = 10 * SECOND


def signal_of(
    verdict: Verdict, status: int | None, *, took: timedelta = SECOND, retry_after: timedelta | None = None
) -> AttemptSignal | None:
    return attempt_signal(verdict, status_code=status, took=took, deadline=DEADLINE, retry_after=retry_after)


@pytest.mark.parametrize(
    ("verdict", "status", "answered"),
    [
        (Verdict.DELIVERED, 200, True),
        (Verdict.REFUSED, 404, True),
        (Verdict.GONE, 410, True),
        (Verdict.RETRY, 500, False),
        (Verdict.RETRY, 429, False),
        (Verdict.RETRY, None, False),
    ],
)
def test_who_refuses_one_url_is_there_for_others(verdict: Verdict, status: int | None, *, answered: bool) -> None:
    signal = signal_of(verdict, status)
    assert signal is not None
    assert signal.available is answered


def test_an_address_that_may_not_be_called_tells_nothing() -> None:
    assert signal_of(Verdict.REFUSED, None) is None


def test_too_many_requests_and_slowness_are_signs_of_too_much() -> None:
    assert signal_of(Verdict.RETRY, 429) == AttemptSignal(available=False, overloaded=True)
    assert signal_of(Verdict.RETRY, None, took=DEADLINE) == AttemptSignal(available=False, overloaded=True)
    assert signal_of(Verdict.DELIVERED, 200, took=DEADLINE / 2) == AttemptSignal(available=True, overloaded=True)
    assert signal_of(Verdict.DELIVERED, 200, took=DEADLINE / 2 - SECOND) == AttemptSignal(available=True)


def test_a_pause_that_is_asked_for_is_bounded() -> None:
    assert signal_of(Verdict.RETRY, 503, retry_after=7 * SECOND) == AttemptSignal(available=False, pause=7 * SECOND)
    assert signal_of(Verdict.RETRY, 503, retry_after=timedelta(days=1)) == AttemptSignal(
        available=False, pause=PAUSES[-1]
    )


def test_a_lane_says_whose_it_is_and_where_it_leads() -> None:
    assert split_lane(lane_of("team-a", "https://bot.example:443")) == ("team-a", "https://bot.example:443")
    assert Destination(lane_of("a", "x"), NOW).id != Destination(lane_of("b", "x"), NOW).id


def test_a_single_delivery_does_not_disable_its_destination() -> None:
    waits = RetrySchedule(tuple(timedelta(seconds=wait) for wait in Settings().retry_schedule))
    assert waits.max_lifetime < DISABLED_AFTER


def test_a_breaker_is_closed_open_or_half_open() -> None:
    sound = Destination("t x", NOW, not_before=NOW + SECOND)
    failing = Destination("t x", NOW, tripped=True, not_before=NOW + SECOND)
    assert (sound.state, sound.breaker(NOW)) == (DestinationState.OK, Breaker.CLOSED)
    assert (failing.state, failing.breaker(NOW)) == (DestinationState.FAILING, Breaker.OPEN)
    assert failing.breaker(NOW + SECOND) is Breaker.HALF_OPEN


def test_what_is_on_hold_is_not_tried_whatever_its_breaker_says() -> None:
    on_hold = Destination("t x", NOW, on_hold=DestinationState.DISABLED, tripped=True, not_before=NOW + SECOND)
    assert (on_hold.state, on_hold.next_try_at(NOW), on_hold.address) == (DestinationState.DISABLED, None, "x")


def test_a_bot_is_a_destination_of_its_own_that_does_not_tell_its_credential() -> None:
    origin, token = "https://oapi.dingtalk.com:443", "t0ken"
    bot = bot_at(origin, "dingtalk", token)
    assert token not in bot
    assert bot != bot_at(origin, "dingtalk", "another")
    assert (origin_of(bot), format_of(bot), is_bot(bot)) == (origin, "dingtalk", True)
    assert Destination(lane_of("t", bot), used_at=NOW).format == "dingtalk"
    assert (origin_of(origin), format_of(origin), is_bot(origin)) == (origin, None, False)
    assert format_of(bot_at(origin, "mattermost", "")) == "mattermost"


def test_a_bot_may_ask_for_a_longer_pause_than_one_url_of_many() -> None:
    def signal_with_pause(*, is_bot: bool) -> AttemptSignal | None:
        ten_minutes = 600 * SECOND
        return attempt_signal(
            Verdict.RETRY, status_code=200, took=SECOND, deadline=DEADLINE, retry_after=ten_minutes, is_bot=is_bot
        )

    assert signal_with_pause(is_bot=True) == AttemptSignal(available=False, pause=600 * SECOND)
    assert signal_with_pause(is_bot=False) == AttemptSignal(available=False, pause=PAUSES[-1])


def test_a_service_may_say_that_it_is_too_much_otherwise_than_by_its_status() -> None:
    signal = attempt_signal(
        Verdict.RETRY, status_code=200, took=SECOND, deadline=DEADLINE, retry_after=None, overloaded=True
    )
    assert signal == AttemptSignal(available=False, overloaded=True)
