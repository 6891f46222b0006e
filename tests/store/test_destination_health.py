"""How scripts judge a destination, and which are remembered."""

import itertools
from datetime import datetime, timedelta

import pytest

from app.bootstrap.runtime import Runtime
from app.domain.delivery import Death, DeliveryState, NextStep
from app.domain.destination import DISABLED_AFTER, AttemptSignal, lane_of
from app.domain.job import Job, JobState
from app.domain.verdict import Verdict
from app.store.agenda import Claimed
from app.store.destinations import SignalReport
from app.store.engine import keys

SECOND = timedelta(seconds=1)
LANE = lane_of("t", "https://bot.example:443")


@pytest.fixture
def fare(runtime: Runtime, registration, deliveries_of, now: datetime):
    """An attempt ends so; what has become of the destination."""
    runtime.stores.registrations.add(registration(job_ids=(), ended=(Job("j", JobState.SUCCEEDED),)))
    (delivery,) = deliveries_of()
    numbers = itertools.count()

    def one(sign: AttemptSignal, *, at: datetime = now, started: datetime = now) -> str:
        heard: list[str] = []
        claimed = Claimed(LANE, delivery.id, fence=0, due_at=now)
        news = SignalReport(runtime.destinations.report(sign, "why", started), at, heard.append)
        line = {"number": next(numbers)}
        follows = NextStep(DeliveryState.DEAD, death=Death.TRIES)
        runtime.stores.scripts.run(runtime.stores.deliveries.record(claimed, Verdict.RETRY, follows, line, news))
        return heard[0]

    return one


def places(runtime: Runtime) -> int:
    found = runtime.destinations.page("t", limit=1, cursor=None)[0]
    return found[0].concurrency


def test_a_slow_answer_halves_its_places_once_for_all_that_were_under_way(runtime: Runtime, fare, now) -> None:
    slow = AttemptSignal(answered=True, overloaded=True)
    for _ in range(3):
        fare(slow, at=now + SECOND)
    assert places(runtime) == 8
    for number in range(2, 9):
        fare(slow, at=now + number * SECOND, started=now + number * SECOND)
    assert places(runtime) == 1


def test_a_slow_answer_halves_its_pace_which_comes_back_by_itself(runtime: Runtime, fare, now) -> None:
    def rate(at: datetime) -> float:
        return runtime.stores.deliveries_due.budgets([LANE], at)[0].rate

    slow, away = AttemptSignal(answered=True, overloaded=True), AttemptSignal(answered=False, overloaded=True)
    assert rate(now) == runtime.settings.destination_rate == 200
    for _ in range(3):
        fare(slow)
    assert rate(now) == 100
    for number in range(20):
        fare(slow, at=now + SECOND, started=now + SECOND * number)
    for number in range(20, 40):  # five of these open its breaker
        fare(away, at=now + SECOND * number, started=now + SECOND * number)
    later = now + 25 * SECOND
    assert 1 <= rate(later) < 5
    assert rate(later + timedelta(minutes=5)) == pytest.approx(2 * rate(later))
    assert rate(later + timedelta(hours=1)) == 200


def test_places_come_back_one_by_one_with_answers(runtime: Runtime, fare, now) -> None:
    fare(AttemptSignal(answered=True, overloaded=True))
    fare(AttemptSignal(answered=True))  # it was under way then
    for _ in range(8):
        assert places(runtime) == 8
        fare(AttemptSignal(answered=True), started=now + SECOND)
    for _ in range(9 + 10 + 11 + 12 + 13 + 14 + 15):
        assert places(runtime) < 16
        fare(AttemptSignal(answered=True), started=now + SECOND)
    assert places(runtime) == 16
    assert not runtime.stores.redis.hexists(keys.lane("deliver", LANE), "places")


def test_a_quiet_time_between_two_failures_disables_nothing(runtime: Runtime, fare, now) -> None:
    assert fare(AttemptSignal(answered=False)) == ""
    assert fare(AttemptSignal(answered=False), at=now + timedelta(days=9)) == ""


def test_failures_that_were_under_way_disable_it_once(runtime: Runtime, fare, now) -> None:
    for _ in range(5):
        fare(AttemptSignal(answered=False))
    late = now + DISABLED_AFTER
    assert [fare(AttemptSignal(answered=False), at=late), fare(AttemptSignal(answered=False), at=late)] == [
        "disabled",
        "",
    ]


def test_an_answer_starts_the_days_anew(runtime: Runtime, fare, now) -> None:
    for _ in range(5):
        fare(AttemptSignal(answered=False))
    fare(AttemptSignal(answered=True), at=now + timedelta(days=1))
    for _ in range(5):
        fare(AttemptSignal(answered=False), at=now + timedelta(days=1))
    assert fare(AttemptSignal(answered=False), at=now + DISABLED_AFTER) != "disabled"
    assert fare(AttemptSignal(answered=False), at=now + DISABLED_AFTER + timedelta(days=1)) == "disabled"


def test_an_answer_during_the_pause_is_one_from_before(runtime: Runtime, fare, now) -> None:
    said = [fare(AttemptSignal(answered=False)) for _ in range(6)]
    assert said == ["", "", "", "", "fails", ""]
    assert fare(AttemptSignal(answered=True)) == ""
    assert fare(AttemptSignal(answered=True), at=now + 5 * SECOND) == "answers_again"


def test_destinations_are_listed_by_address_page_by_page_however_they_are_used(
    runtime: Runtime, registration, now: datetime
) -> None:
    for number in range(5):
        runtime.stores.registrations.add(
            registration(destination=f"https://{number}.example:443", at=now + number * SECOND)
        )
    runtime.stores.registrations.add(registration(destination="https://1.example:443", at=now + 9 * SECOND))
    seen, cursor = [], None
    while True:
        found, cursor = runtime.destinations.page("t", limit=2, cursor=cursor)
        seen += [destination.address[8] for destination in found]
        if cursor is None:
            break
    assert seen == ["0", "1", "2", "3", "4"]


def test_one_that_was_not_used_for_long_is_forgotten_with_its_lane_but_not_while_it_holds_something(
    runtime: Runtime, registration, now: datetime
) -> None:
    old = {name: lane_of("t", f"https://{name}.example:443") for name in ("unused", "paused", "owed")}
    for name, lane in old.items():
        ended = (Job("j", JobState.SUCCEEDED),) if name == "owed" else ()
        jobs = () if ended else ("j",)
        address = f"https://{name}.example:443"
        runtime.stores.registrations.add(registration(job_ids=jobs, destination=address, ended=ended))
        runtime.stores.redis.hset(keys.lane("deliver", lane), "answered", 1)
    runtime.destinations.pause(old["paused"], now)
    runtime.stores.registrations.add(registration("other", at=now + timedelta(days=29)))
    found, _ = runtime.destinations.page("t", limit=10, cursor=None)
    assert {destination.lane for destination in found} == {LANE, old["paused"], old["owed"]}
    assert not runtime.stores.redis.exists(keys.lane("deliver", old["unused"]))
