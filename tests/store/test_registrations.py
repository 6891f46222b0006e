"""Registering, ending, cancelling: one script each."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import pytest

from app.bootstrap.runtime import Runtime
from app.domain.delivery import DeliveryState, NextStep
from app.domain.event import EventType
from app.domain.job import Job, JobState
from app.domain.registration import Notify, RegistrationState
from app.domain.verdict import Verdict
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall
from app.store.fitness import name_of
from app.store.idempotency import NOTHING, Idempotency, Repeated

SECOND = timedelta(seconds=1)
MOST_BYTES = {"Valkey": 1_000, "Redis": 1_200}  # Redis 7.0 keeps small hashes and strings with more around them
MINUTE = timedelta(minutes=1)


def end(runtime: Runtime, job_id: str, at: datetime, state: JobState = JobState.SUCCEEDED) -> int:
    """Polls until the job comes round, and completes it; how many registrations had waited."""
    for item in runtime.polls_due.claim_due(at, 100).items:
        if item.id == job_id:
            waited: int = runtime.scripts.run(runtime.watches.complete(item, Job(job_id, state, status=2), at))
            return waited
    raise AssertionError(f"{job_id} is not due")


def test_a_registration_comes_back_as_it_was_made(runtime: Runtime, registration) -> None:
    made = registration("job-1", "job-2", traceparent="00-a-b-01")
    runtime.registrations.add(made)
    found = runtime.registrations.get("t", made.id)
    assert found is not None
    assert found[0] == made
    assert found[1].state is RegistrationState.WATCHING
    assert found[1].jobs == {"job-1": JobState.PENDING, "job-2": JobState.PENDING}


def test_what_is_unusual_of_a_registration_comes_back_too(runtime: Runtime, registration) -> None:
    made = registration(
        events=(EventType.JOB_LOST, EventType.GROUP_FINISHED),
        metadata={},
        notify=Notify.BOTH,
        request_id="r",
        ended=(Job(None, JobState.FAILED, error_msg="refused"),),
    )
    runtime.registrations.add(made)
    found = runtime.registrations.get("t", made.id)
    assert found is not None
    assert found[0] == made


def test_a_job_that_is_registered_by_itself_costs_about_a_thousand_bytes(runtime: Runtime, registration) -> None:
    def used() -> int:
        bytes_used: int = runtime.redis.info("memory")["used_memory"]
        return bytes_used

    made = [registration(f"{number:032x}", events=tuple(EventType), metadata={}) for number in range(501)]
    runtime.registrations.add(made[0])  # scripts, which cost but once
    before = used()
    for each in made[1:]:
        runtime.registrations.add(each)
    server, _ = name_of(runtime.redis.info()).split()
    assert used() - before < 500 * MOST_BYTES[server]


def test_another_tenant_sees_nothing(runtime: Runtime, registration) -> None:
    made = registration()
    runtime.registrations.add(made)
    assert runtime.registrations.get("other", made.id) is None
    assert runtime.registrations.cancel("other", made.id) is None


def test_url_and_secret_lie_sealed_in_redis(runtime: Runtime, registration) -> None:
    made = registration()
    runtime.registrations.add(made)
    record = runtime.redis.get(keys.registration(made.id))
    assert "secret-path" not in record
    assert made.secret.removeprefix("whsec_") not in record


def test_one_job_has_one_watch_however_many_register(runtime: Runtime, registration, now: datetime) -> None:
    for _ in range(100):
        runtime.registrations.add(registration())
    assert [item.id for item in runtime.polls_due.claim_due(now, 200).items] == ["job-1"]


def test_the_end_of_a_job_gives_each_registration_its_delivery(
    runtime: Runtime, registration, deliveries_of, now: datetime
) -> None:
    made = [registration() for _ in range(3)]
    for each in made:
        runtime.registrations.add(each)
    assert end(runtime, "job-1", now) == 3
    assert {delivery.registration_id for delivery in deliveries_of()} == {each.id for each in made}
    assert len(runtime.deliveries_due.claim_due(now, 10).items) == 3
    found = runtime.registrations.get("t", made[0].id)
    assert found is not None
    assert found[1].state is RegistrationState.FINISHED
    assert found[1].pending == 1


def test_registering_for_a_job_that_has_ended_notifies_at_once(
    runtime: Runtime, registration, deliveries_of, now: datetime
) -> None:
    runtime.registrations.add(registration())
    end(runtime, "job-1", now)
    late = registration(at=now + MINUTE)
    runtime.registrations.add(late)
    assert deliveries_of()[0].registration_id == late.id
    found = runtime.registrations.get("t", late.id)
    assert found is not None
    assert found[1].state is RegistrationState.FINISHED


def test_a_job_that_was_lost_is_asked_for_again_when_somebody_registers_again(
    runtime: Runtime, registration, now: datetime
) -> None:
    runtime.registrations.add(registration())
    end(runtime, "job-1", now, JobState.LOST)
    runtime.registrations.add(registration(at=now + MINUTE))
    assert [item.id for item in runtime.polls_due.claim_due(now + MINUTE, 10).items] == ["job-1"]


def test_events_that_are_not_wanted_are_not_made(runtime: Runtime, registration, deliveries_of, now: datetime) -> None:
    made = registration(events=(EventType.JOB_FAILED,))
    runtime.registrations.add(made)
    end(runtime, "job-1", now)
    assert deliveries_of() == []
    found = runtime.registrations.get("t", made.id)
    assert found is not None
    assert found[1].state is RegistrationState.FINISHED


def test_who_wants_only_what_never_comes_is_told_nothing(
    runtime: Runtime, registration, deliveries_of, now: datetime
) -> None:
    runtime.registrations.add(registration(events=(EventType.GROUP_FINISHED,), notify=Notify.EACH))
    assert end(runtime, "job-1", now) == 1
    assert deliveries_of() == []


def test_a_second_end_of_the_same_job_changes_nothing(
    runtime: Runtime, registration, deliveries_of, now: datetime
) -> None:
    runtime.registrations.add(registration())
    claimed = runtime.polls_due.claim_due(now, 1).items[0]
    runtime.scripts.run(runtime.watches.complete(claimed, Job("job-1", JobState.SUCCEEDED), now))
    runtime.scripts.run(runtime.watches.complete(claimed, Job("job-1", JobState.FAILED), now + SECOND))
    assert [delivery.type for delivery in deliveries_of()] == [EventType.JOB_SUCCEEDED]


def test_that_a_job_is_lost_needs_the_lease(runtime: Runtime, registration, deliveries_of, now: datetime) -> None:
    runtime.registrations.add(registration())
    stalled = runtime.polls_due.claim_due(now, 1).items[0]
    later = now + runtime.settings.lease
    runtime.polls_due.claim_due(later, 1)
    runtime.scripts.run(runtime.watches.complete(stalled, Job("job-1", JobState.LOST), later))
    assert deliveries_of() == []


def test_what_is_overdue_ends_with_what_was_last_seen(
    runtime: Runtime, registration, deliveries_of, now: datetime
) -> None:
    made = registration("job-1", "job-2", deadline_at=now + MINUTE)
    runtime.registrations.add(made)
    claimed = {item.id: item for item in runtime.polls_due.claim_due(now, 10).items}
    watch = runtime.watches.load([claimed["job-1"]])[0]
    assert watch is not None
    running = Job("job-1", JobState.RUNNING, status=1, phone_id="phone")
    runtime.scripts.run(runtime.watches.postpone(claimed["job-1"], watch, now + SECOND, now, running))
    assert runtime.watches.end_overdue(now + MINUTE - SECOND, 10) == (0, now + MINUTE)
    assert runtime.watches.end_overdue(now + MINUTE, 10) == (1, None)
    assert {delivery.job_id for delivery in deliveries_of()} == {"job-1", "job-2"}
    begun = runtime.deliveries.begin(runtime.deliveries_due.claim_due(now + MINUTE, 10).items, now + 2 * MINUTE)
    jobs = {job.job_id: job for job in (runtime.deliveries.open(each)[1].about for each in begun)}
    assert jobs["job-1"] == Job("job-1", JobState.OVERDUE, status=1, phone_id="phone")
    assert jobs["job-2"] == Job("job-2", JobState.OVERDUE)
    assert runtime.polls_due.claim_due(now + timedelta(hours=1), 10).items == ()


def test_the_deadline_of_one_registration_leaves_the_others_watching(
    runtime: Runtime, registration, deliveries_of, now: datetime
) -> None:
    hasty, patient = registration(deadline_at=now + MINUTE), registration()
    runtime.registrations.add(hasty)
    runtime.registrations.add(patient)
    runtime.watches.end_overdue(now + MINUTE, 10)
    assert [delivery.registration_id for delivery in deliveries_of()] == [hasty.id]
    assert end(runtime, "job-1", now + MINUTE) == 1
    assert {delivery.registration_id for delivery in deliveries_of()} == {hasty.id, patient.id}


def test_after_the_last_cancel_nobody_asks_any_more(runtime: Runtime, registration, now: datetime) -> None:
    first, second = registration(), registration()
    runtime.registrations.add(first)
    runtime.registrations.add(second)
    runtime.registrations.cancel("t", first.id)
    assert runtime.redis.exists(keys.watch("default", "job-1"))
    runtime.registrations.cancel("t", second.id)
    assert runtime.polls_due.claim_due(now, 10).items == ()
    assert not runtime.redis.exists(keys.watch("default", "job-1"))


def test_a_cancel_takes_its_deliveries_off_the_agenda(
    runtime: Runtime, registration, deliveries_of, now: datetime
) -> None:
    made = registration()
    runtime.registrations.add(made)
    end(runtime, "job-1", now)
    runtime.registrations.cancel("t", made.id)
    assert runtime.deliveries_due.claim_due(now, 10).items == ()
    assert [delivery.state for delivery in deliveries_of()] == [DeliveryState.CANCELLED]
    assert runtime.redis.ttl(keys.registration(made.id)) > 0


def test_a_cancel_says_until_when_an_attempt_under_way_may_last(
    runtime: Runtime, registration, deliveries_of, now: datetime
) -> None:
    made = registration()
    runtime.registrations.add(made)
    end(runtime, "job-1", now)
    claimed = runtime.deliveries_due.claim_due(now, 10).items
    (begun,) = runtime.deliveries.begin(claimed, now + 11 * SECOND)
    assert runtime.registrations.cancel("t", made.id) == now + 11 * SECOND
    assert runtime.registrations.under_way(made.id, now)
    assert not runtime.registrations.under_way(made.id, now + 11 * SECOND)
    runtime.scripts.run(
        runtime.deliveries.record(begun.claimed, Verdict.DELIVERED, NextStep(DeliveryState.DELIVERED), {"number": 1})
    )
    assert not runtime.registrations.under_way(made.id, now)
    assert [delivery.state for delivery in deliveries_of()] == [DeliveryState.DELIVERED]
    found = runtime.registrations.get("t", made.id)
    assert found is not None
    assert (found[1].pending, found[1].delivered) == (0, 1)


def test_a_key_that_was_used_gives_the_first_answer_again(runtime: Runtime, registration) -> None:
    key = Idempotency("key", "body", '{"first": true}')
    assert runtime.registrations.add(registration(), key) is None
    again = registration()
    assert runtime.registrations.add(again, Idempotency("key", "body", "{}")) == Repeated('{"first": true}')
    assert runtime.registrations.add(registration(), Idempotency("key", "other body", "{}")) == Repeated(None)
    assert runtime.registrations.get("t", again.id) is None
    assert "first" not in runtime.redis.get(keys.idempotency("t", "key"))


def test_a_registration_whose_answer_was_lost_is_taken_once(
    runtime: Runtime, registration, deliveries_of, now: datetime
) -> None:
    """redis-py sends a script again when the connection broke off, and the job may have ended since."""
    made = registration("job-1", "job-2")
    runtime.registrations.add(made)
    end(runtime, "job-1", now)
    assert runtime.registrations.add(made) is None
    found = runtime.registrations.get("t", made.id)
    assert found is not None
    assert (found[1].jobs, found[1].pending) == ({"job-1": JobState.SUCCEEDED, "job-2": JobState.PENDING}, 1)
    end(runtime, "job-2", now + MINUTE)
    found = runtime.registrations.get("t", made.id)
    assert found is not None
    assert found[1].state is RegistrationState.FINISHED
    assert len(deliveries_of()) == 2


def test_a_value_whose_rewriting_was_not_answered_is_rewritten_once(runtime: Runtime) -> None:
    runtime.redis.set("record", "before")
    replace_by = partial(ScriptCall, "compare_and_set", name="record", old="before", **NOTHING)
    assert [runtime.scripts.run(replace_by(new="after")) for _ in range(2)] == [1, 1]
    assert runtime.scripts.run(replace_by(new="other")) == 0


def test_pages_neither_skip_nor_repeat_while_things_change(runtime: Runtime, registration, now: datetime) -> None:
    made = [registration(at=now + number * SECOND) for number in range(450)]
    for each in made:
        runtime.registrations.add(each)
    seen, cursor = [], None
    for number in range(10_000):
        page, cursor = runtime.registrations.page("t", limit=100, cursor=cursor, wanted=lambda _: True)
        seen += [found.id for found, _ in page]
        runtime.registrations.add(registration(at=now + (1_000 + number) * SECOND))
        if cursor is None:
            break
    assert seen == [each.id for each in reversed(made)]


def test_a_page_holds_only_what_is_wanted(runtime: Runtime, registration, now: datetime) -> None:
    made = [registration(f"job-{number}", at=now + number * SECOND) for number in range(250)]
    for each in made:
        runtime.registrations.add(each)
    page, cursor = runtime.registrations.page(
        "t", limit=5, cursor=None, wanted=lambda known: "job-3" in known[0].job_ids
    )
    assert ([found.id for found, _ in page], cursor) == ([made[3].id], None)


def test_the_indexes_do_not_grow_for_ever(runtime: Runtime, registration, now: datetime) -> None:
    for day in range(0, 100, 10):
        at = now + timedelta(days=day)
        runtime.registrations.add(registration(f"job-{day}", at=at))
        end(runtime, f"job-{day}", at)
    assert runtime.redis.zcard(keys.registrations("t")) == 3
    assert runtime.redis.zcard(keys.deliveries("t")) == 3


def test_the_index_forgets_what_is_gone(runtime: Runtime, registration) -> None:
    made = registration()
    runtime.registrations.add(made)
    runtime.redis.delete(keys.registration(made.id))
    assert runtime.registrations.page("t", limit=5, cursor=None, wanted=lambda _: True) == ([], None)
    assert runtime.redis.zcard(keys.registrations("t")) == 0


@pytest.mark.parametrize("last", [NextStep(DeliveryState.DELIVERED), NextStep(DeliveryState.DEAD)])
def test_what_has_ended_is_kept_for_a_while_and_what_has_not_for_ever(
    runtime: Runtime, registration: Callable, now: datetime, last: NextStep
) -> None:
    made = registration()
    runtime.registrations.add(made)
    end(runtime, "job-1", now)
    kept = [keys.registration(made.id), keys.progress(made.id)]
    assert [runtime.redis.ttl(key) for key in kept] == [-1, -1]
    (begun,) = runtime.deliveries.begin(runtime.deliveries_due.claim_due(now, 1).items, now + MINUTE)
    runtime.scripts.run(runtime.deliveries.record(begun.claimed, Verdict.RETRY, last, {"number": 1}))
    kept += [keys.delivery(begun.claimed.id), keys.attempts(begun.claimed.id)]
    assert all(0 < runtime.redis.ttl(key) <= runtime.settings.retention_s for key in kept)
