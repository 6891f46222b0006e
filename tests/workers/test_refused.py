"""What a poll worker does while CPH refuses our credentials."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from app.bootstrap.stores import Stores
from app.cph.client import Unanswered
from app.domain.job import JobState
from app.domain.project_health import ProjectState
from app.domain.times import to_ms
from app.store.engine import keys
from tests.support.claims import claim_due
from tests.support.served import Served
from workers.polling.backoff import back_off
from workers.polling.retry_refused import RefusedProjectRetry

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def refusing(standin: Served) -> Callable[[], None]:
    """CPH refuses everybody, until its faults are taken away."""
    return lambda: standin.order("/_standin/faults", {"kind": "unauthorized", "times": 1_000})


@pytest.fixture
def retrying(polling, stores: Stores, time) -> RefusedProjectRetry:
    retrying = RefusedProjectRetry(stores.polls_due, stores.scripts, polling._clients, time)
    retrying.tick(asked=False)
    return retrying


def calls(standin: Served) -> int:
    counted = standin.call("GET", "/_standin/calls").json()
    return int(counted["show_job"] + counted["list_jobs"])


def told(caplog, event: str) -> list[dict]:
    return [record.fields for record in caplog.records if record.message == event]


def refused_until(stores: Stores, now: datetime) -> datetime | None:
    return stores.polls_due.budgets(["default"], now)[0].paused_until


@pytest.fixture(autouse=True)
def _hears(caplog) -> None:
    caplog.set_level("INFO", logger="bridge")


def test_refusals_at_one_moment_count_as_one_and_pauses_grow(
    polling, turn, watched, standin, refusing, stores, time, caplog
) -> None:
    jobs = [watched(standin.job(duration_s=0)["job_id"]) for _ in range(5)]
    refusing()
    assert turn(polling) == 5
    assert refused_until(stores, time.now) == time.now + MINUTE
    pauses = []
    for _ in range(8):
        time.now = refused_until(stores, time.now) - SECOND
        assert turn(polling) == 0
        time.now += SECOND
        assert turn(polling) == 1
        pauses.append((refused_until(stores, time.now) - time.now) // MINUTE)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    assert [line["pause_s"] // 60 for line in told(caplog, "project.refused")] == [1, *pauses]
    assert not told(caplog, "cph.unanswered")
    assert {job.state for job in jobs} == {JobState.PENDING}


def test_one_call_alone_tries_and_its_answer_opens_the_project(
    polling, turn, watched, standin, refusing, stores, time, caplog
) -> None:
    jobs = [watched(standin.job(duration_s=0)["job_id"]) for _ in range(5)]
    refusing()
    turn(polling)
    standin.call("DELETE", "/_standin/faults")
    time.now += MINUTE
    [probe] = claim_due(polling.agenda, time.now, 100)
    time.now += SECOND
    assert claim_due(polling.agenda, time.now, 100) == ()  # while it is under way
    [task] = polling.prepare([probe])
    stores.scripts.run_all(polling.do(task))
    assert stores.project_healths.of(["default"])[0].state is ProjectState.OK
    assert turn(polling) == 4
    assert {job.state for job in jobs} == {JobState.SUCCEEDED}
    assert told(caplog, "project.answers_again") == [{"project": "default"}]


def test_an_answer_that_was_under_way_when_others_were_refused_opens_nothing(
    polling, turn, watched, standin, refusing, stores, time
) -> None:
    for _ in range(2):
        watched(standin.job(duration_s=60)["job_id"])
    first, second = claim_due(polling.agenda, time.now, 100)
    refusing()
    [task] = polling.prepare([first])
    stores.scripts.run_all(polling.do(task))
    standin.call("DELETE", "/_standin/faults")
    time.now += 5 * SECOND
    [task] = polling.prepare([second])
    stores.scripts.run_all(polling.do(task))
    assert turn(polling) == 0
    assert refused_until(stores, time.now) == time.now + 55 * SECOND
    assert stores.project_healths.of(["default"])[0].state is ProjectState.REFUSED


def test_after_a_success_the_pauses_begin_anew(polling, turn, watched, standin, refusing, stores, time) -> None:
    watched(standin.job(duration_s=3600)["job_id"])
    for _ in range(3):
        refusing()
        turn(polling)
        assert refused_until(stores, time.now) == time.now + MINUTE
        standin.call("DELETE", "/_standin/faults")
        time.now += MINUTE
        turn(polling)
        time.now += 2 * MINUTE


def test_credentials_that_were_too_new_to_renew_are_tried_soon_but_once(polling, stores: Stores, time) -> None:
    """A token that ends within seconds of its issue: see SETTLING in app/cph/cached_credentials.py."""
    too_new = Unanswered("CPH refuses credentials that have just been given", 3 * SECOND, unauthenticated=True)
    for pause in (3 * SECOND, 2 * MINUTE, 4 * MINUTE):
        back_off(polling.agenda, "default", too_new, time.now)
        assert refused_until(stores, time.now) == time.now + pause
        time.now += pause


def test_a_403_of_cph_itself_is_a_refusal_too(polling, turn, watched, standin: Served, stores, time) -> None:
    watched("a-job", project="default")
    polling._clients["default"]._jobs = standin.about["url"] + "/v1/other/cloud-phone/jobs"
    turn(polling)
    assert stores.project_healths.of(["default"])[0].state is ProjectState.REFUSED


def test_that_nothing_may_be_listed_does_not_say_that_the_project_is_accepted(
    polling, turn, watched, registration, standin: Served, stores: Stores, time
) -> None:
    job = watched(standin.job(duration_s=0)["job_id"])
    stores.registrations.add(registration(job_ids=(), request_id="0" * 32))
    standin.order("/_standin/faults", {"kind": "forbidden", "times": None})
    for minutes in (1, 2, 4):
        while refused_until(stores, time.now) is None:
            time.now += SECOND
            turn(polling)
        assert refused_until(stores, time.now) == time.now + minutes * MINUTE
        time.now += minutes * MINUTE
    assert job.state is JobState.PENDING


def test_an_operator_may_have_it_tried_at_once_but_not_all_the_time(
    polling, turn, watched, standin, refusing, retrying, stores, time
) -> None:
    watched(standin.job(duration_s=0)["job_id"])
    refusing()
    for minutes in (1, 2, 4):
        turn(polling)
        assert refused_until(stores, time.now) == time.now + minutes * MINUTE
        time.now += 5 * SECOND
        retrying.look(asked=True)
        assert turn(polling) == 0
        time.now += 5 * SECOND


def test_changed_credentials_are_tried_at_once_and_what_iam_said_to_the_old_ones_is_forgotten(
    polling, turn, watched, standin, refusing, retrying, runtime, time
) -> None:
    job = watched(standin.job(duration_s=0)["job_id"])
    refusing()
    turn(polling)
    standin.call("DELETE", "/_standin/faults")
    runtime.stores.redis.set(keys.token("default"), "IAM is to be left alone")
    time.now += 20 * SECOND
    retrying.look(asked=False)
    assert turn(polling) == 0
    assert runtime.stores.redis.exists(keys.token("default"))
    polling._clients["default"] = another = runtime.cph_client("default")
    assert another
    retrying.look(asked=False)
    assert not runtime.stores.redis.exists(keys.token("default"))
    assert refused_until(runtime.stores, time.now) is None
    assert runtime.stores.redis.zscore(keys.lanes("poll"), "default") == to_ms(time.now)
    assert job.state is JobState.PENDING


def test_a_worker_that_starts_tries_a_minute_after_the_last_refusal(
    polling, turn, watched, standin, refusing, stores, time
) -> None:
    watched(standin.job(duration_s=0)["job_id"])
    refusing()
    turn(polling)
    time.now += MINUTE
    turn(polling)
    time.now += 20 * SECOND
    RefusedProjectRetry(stores.polls_due, stores.scripts, polling._clients, time).tick(asked=False)
    assert refused_until(stores, time.now) == time.now + 40 * SECOND


def test_a_project_that_is_not_refused_is_left_alone_by_a_retry(retrying, stores: Stores, time) -> None:
    stores.scripts.run(stores.polls_due.pause("default", time.now + MINUTE))
    retrying.look(asked=True)
    assert refused_until(stores, time.now) == time.now + MINUTE
