"""The health of destinations, as scripts maintain it, and when destinations are forgotten."""

import itertools
from collections.abc import Callable
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
from tests.support.claims import mark_answered

SECOND = timedelta(seconds=1)
LANE = lane_of("t", "https://bot.example:443")


@pytest.fixture
def make_attempt(runtime: Runtime, registration, deliveries_of, now: datetime) -> Callable[..., str]:
    """Records an attempt with this signal. Returns the change of the destination's state; '' for none."""
    runtime.stores.registrations.add(registration(job_ids=(), ended=(Job("j", JobState.SUCCEEDED),)))
    mark_answered(runtime.stores.redis)
    (delivery,) = deliveries_of()
    numbers = itertools.count()

    def make(signal: AttemptSignal, *, at: datetime = now, started: datetime = now) -> str:
        replies: list[str] = []
        claimed = Claimed("t", LANE, delivery.id, fence=0, due_at=now)
        report = SignalReport(runtime.destinations.report(LANE, signal, "why", started), at, replies.append)
        attempt = {"number": next(numbers)}
        step = NextStep(DeliveryState.DEAD, death=Death.TRIES)
        runtime.stores.scripts.run(runtime.stores.deliveries.record(claimed, Verdict.RETRY, step, attempt, report))
        return replies[0]

    return make


def concurrency_now(runtime: Runtime) -> int:
    found = runtime.destinations.page("t", limit=1, cursor=None)[0]
    return found[0].concurrency


def test_a_slow_answer_halves_its_concurrency_once_for_all_that_were_under_way(
    runtime: Runtime, make_attempt, now
) -> None:
    slow = AttemptSignal(available=True, overloaded=True)
    for _ in range(3):
        make_attempt(slow, at=now + SECOND)
    assert concurrency_now(runtime) == 8
    for number in range(2, 9):
        make_attempt(slow, at=now + number * SECOND, started=now + number * SECOND)
    assert concurrency_now(runtime) == 1


def test_a_slow_answer_halves_its_rate_which_comes_back_by_itself(runtime: Runtime, make_attempt, now) -> None:
    def rate(at: datetime) -> float:
        return runtime.stores.deliveries_due.budgets([LANE], at)[0].rate

    slow, unanswered = AttemptSignal(available=True, overloaded=True), AttemptSignal(available=False, overloaded=True)
    assert rate(now) == runtime.settings.destination_rate == 200
    for _ in range(3):
        make_attempt(slow)
    assert rate(now) == 100
    for number in range(20):
        make_attempt(slow, at=now + SECOND, started=now + SECOND * number)
    for number in range(20, 40):  # five of these open its breaker
        make_attempt(unanswered, at=now + SECOND * number, started=now + SECOND * number)
    later = now + 25 * SECOND
    assert 1 <= rate(later) < 5
    assert rate(later + timedelta(minutes=5)) == pytest.approx(2 * rate(later))
    assert rate(later + timedelta(hours=1)) == 200


def test_concurrency_comes_back_one_by_one_with_answers(runtime: Runtime, make_attempt, now) -> None:
    make_attempt(AttemptSignal(available=True, overloaded=True))
    make_attempt(AttemptSignal(available=True))  # started before the slow answer: does not count
    for _ in range(8):
        assert concurrency_now(runtime) == 8
        make_attempt(AttemptSignal(available=True), started=now + SECOND)
    for _ in range(9 + 10 + 11 + 12 + 13 + 14 + 15):
        assert concurrency_now(runtime) < 16
        make_attempt(AttemptSignal(available=True), started=now + SECOND)
    assert concurrency_now(runtime) == 16
    assert not runtime.stores.redis.hexists(keys.lane("deliver", LANE), "places")


def test_a_quiet_time_between_two_failures_disables_nothing(runtime: Runtime, make_attempt, now) -> None:
    assert make_attempt(AttemptSignal(available=False)) == ""
    assert make_attempt(AttemptSignal(available=False), at=now + timedelta(days=9)) == ""


def test_failures_that_were_under_way_disable_it_once(runtime: Runtime, make_attempt, now) -> None:
    for _ in range(5):
        make_attempt(AttemptSignal(available=False))
    late = now + DISABLED_AFTER
    assert [
        make_attempt(AttemptSignal(available=False), at=late),
        make_attempt(AttemptSignal(available=False), at=late),
    ] == [
        "disabled",
        "",
    ]


def test_an_answer_starts_the_days_anew(runtime: Runtime, make_attempt, now) -> None:
    for _ in range(5):
        make_attempt(AttemptSignal(available=False))
    make_attempt(AttemptSignal(available=True), at=now + timedelta(days=1))
    for _ in range(5):
        make_attempt(AttemptSignal(available=False), at=now + timedelta(days=1))
    assert make_attempt(AttemptSignal(available=False), at=now + DISABLED_AFTER) != "disabled"
    assert make_attempt(AttemptSignal(available=False), at=now + DISABLED_AFTER + timedelta(days=1)) == "disabled"


def test_an_answer_during_the_pause_is_one_from_before(runtime: Runtime, make_attempt, now) -> None:
    changes = [make_attempt(AttemptSignal(available=False)) for _ in range(6)]
    assert changes == ["", "", "", "", "fails", ""]
    assert make_attempt(AttemptSignal(available=True)) == ""
    assert make_attempt(AttemptSignal(available=True), at=now + 5 * SECOND) == "answers_again"


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
    runtime.stores.registrations.add(registration("other", at=now + timedelta(days=30)))
    found, _ = runtime.destinations.page("t", limit=10, cursor=None)
    assert {destination.lane for destination in found} == {LANE, old["paused"], old["owed"]}
    assert not runtime.stores.redis.exists(keys.lane("deliver", old["unused"]))
