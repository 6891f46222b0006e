"""Registering, ending, cancelling: one script each."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.domain.delivery import DeliveryState, NextStep
from app.domain.event import EventType
from app.domain.job import Job, JobState, Unresolved, UnresolvedReason
from app.domain.quota import Quota, QuotaReached, Quotas
from app.domain.registration import Notify, RegistrationState
from app.domain.verdict import Verdict
from app.store.deadlines import LAST_POLL
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall
from app.store.fitness import name_of
from app.store.idempotency import NOTHING, Idempotency, Repeated
from tests.support.claims import answer_polls, claim_due, mark_answered, pass_deadlines

SECOND = timedelta(seconds=1)
MOST_BYTES = {"Valkey": 1_100, "Redis": 1_300}  # Redis 7.0 has more overhead for each small hash and string
MINUTE = timedelta(minutes=1)


def end(stores: Stores, job_id: str, at: datetime, state: JobState = JobState.SUCCEEDED) -> int:
    """Completes a job that is due. Returns how many registrations waited for it."""
    for item in claim_due(stores.polls_due, at, 100):
        if item.id == job_id:
            waited: int = stores.scripts.run(stores.watches.complete(item, Job(job_id, state, status=2), at))
            return waited
    raise AssertionError(f"{job_id} is not due")


def test_a_registration_comes_back_as_it_was_made(stores: Stores, registration) -> None:
    made = registration("job-1", "job-2", traceparent="00-a-b-01")
    stores.registrations.add(made)
    found = stores.registrations.get("t", made.id)
    assert found is not None
    assert found[0] == made
    assert found[1].state is RegistrationState.WATCHING
    assert found[1].jobs == {"job-1": JobState.PENDING, "job-2": JobState.PENDING}


def test_what_is_unusual_of_a_registration_comes_back_too(stores: Stores, registration) -> None:
    made = registration(
        events=(EventType.JOB_LOST, EventType.GROUP_FINISHED),
        metadata={},
        notify=Notify.BOTH,
        request_id="r",
        ended=(Job(None, JobState.FAILED, error_msg="refused"),),
    )
    stores.registrations.add(made)
    found = stores.registrations.get("t", made.id)
    assert found is not None
    assert found[0] == made


def test_a_job_that_is_registered_by_itself_costs_about_a_thousand_bytes(stores: Stores, registration) -> None:
    def memory_of_keys() -> int:
        # Not used_memory: it also has the buffers of connections, which depend on what ran before.
        return sum(stores.redis.memory_usage(key, samples=0) or 0 for key in stores.redis.scan_iter())

    made = [registration(f"{number:032x}", events=tuple(EventType), metadata={}) for number in range(500)]
    before = memory_of_keys()
    for each in made:
        stores.registrations.add(each)
    server, _ = name_of(stores.redis.info()).split()
    assert memory_of_keys() - before < 500 * MOST_BYTES[server]


def test_another_tenant_sees_nothing(stores: Stores, registration) -> None:
    made = registration()
    stores.registrations.add(made)
    assert stores.registrations.get("other", made.id) is None
    assert stores.registrations.cancel("other", made.id) is None


def test_url_and_secret_are_encrypted_in_redis(stores: Stores, registration) -> None:
    made = registration()
    stores.registrations.add(made)
    record = stores.redis.get(keys.registration(made.id))
    assert "secret-path" not in record
    assert made.secret.removeprefix("whsec_") not in record


def test_one_job_has_one_watch_however_many_register(stores: Stores, registration, now: datetime) -> None:
    for _ in range(100):
        stores.registrations.add(registration())
    assert [item.id for item in claim_due(stores.polls_due, now, 200)] == ["job-1"]


def test_the_end_of_a_job_gives_each_registration_its_delivery(
    stores: Stores, registration, deliveries_of, now: datetime
) -> None:
    made = [registration() for _ in range(3)]
    for each in made:
        stores.registrations.add(each)
    assert end(stores, "job-1", now) == 3
    assert {delivery.registration_id for delivery in deliveries_of()} == {each.id for each in made}
    mark_answered(stores.redis)
    assert len(claim_due(stores.deliveries_due, now, 10)) == 3
    found = stores.registrations.get("t", made[0].id)
    assert found is not None
    assert found[1].state is RegistrationState.FINISHED
    assert found[1].pending == 1


def test_registering_for_a_job_that_has_ended_notifies_at_once(
    stores: Stores, registration, deliveries_of, now: datetime
) -> None:
    stores.registrations.add(registration())
    end(stores, "job-1", now)
    late = registration(at=now + MINUTE)
    stores.registrations.add(late)
    assert deliveries_of()[0].registration_id == late.id
    found = stores.registrations.get("t", late.id)
    assert found is not None
    assert found[1].state is RegistrationState.FINISHED


def test_a_job_that_was_lost_is_asked_for_again_when_somebody_registers_again(
    stores: Stores, registration, now: datetime
) -> None:
    stores.registrations.add(registration())
    end(stores, "job-1", now, JobState.LOST)
    stores.registrations.add(registration(at=now + MINUTE))
    assert [item.id for item in claim_due(stores.polls_due, now + MINUTE, 10)] == ["job-1"]


def test_events_that_are_not_wanted_are_not_made(stores: Stores, registration, deliveries_of, now: datetime) -> None:
    made = registration(events=(EventType.JOB_FAILED,))
    stores.registrations.add(made)
    end(stores, "job-1", now)
    assert deliveries_of() == []
    found = stores.registrations.get("t", made.id)
    assert found is not None
    assert found[1].state is RegistrationState.FINISHED


def test_who_wants_only_what_never_comes_is_notified_of_nothing(
    stores: Stores, registration, deliveries_of, now: datetime
) -> None:
    stores.registrations.add(registration(events=(EventType.GROUP_FINISHED,), notify=Notify.EACH))
    assert end(stores, "job-1", now) == 1
    assert deliveries_of() == []


def test_a_second_end_of_the_same_job_changes_nothing(
    stores: Stores, registration, deliveries_of, now: datetime
) -> None:
    stores.registrations.add(registration())
    claimed = claim_due(stores.polls_due, now, 1)[0]
    stores.scripts.run(stores.watches.complete(claimed, Job("job-1", JobState.SUCCEEDED), now))
    stores.scripts.run(stores.watches.complete(claimed, Job("job-1", JobState.FAILED), now + SECOND))
    assert [delivery.type for delivery in deliveries_of()] == [EventType.JOB_SUCCEEDED]


def test_that_a_job_is_lost_needs_the_lease(runtime: Runtime, registration, deliveries_of, now: datetime) -> None:
    runtime.stores.registrations.add(registration())
    stalled = claim_due(runtime.stores.polls_due, now, 1)[0]
    later = now + runtime.settings.lease
    claim_due(runtime.stores.polls_due, later, 1)
    runtime.stores.scripts.run(runtime.stores.watches.complete(stalled, Job("job-1", JobState.LOST), later))
    assert deliveries_of() == []


def test_what_is_overdue_ends_with_what_was_last_seen(
    stores: Stores, registration, deliveries_of, now: datetime
) -> None:
    made = registration("job-1", "job-2", deadline_at=now + MINUTE)
    stores.registrations.add(made)
    claimed = {item.id: item for item in claim_due(stores.polls_due, now, 10)}
    watch = stores.watches.load([claimed["job-1"]])[0]
    assert watch is not None
    running = Job("job-1", JobState.RUNNING, status=1, phone_id="phone")
    stores.scripts.run(stores.watches.postpone(claimed["job-1"], watch, now + SECOND, now, running))
    assert stores.deadlines.end_overdue(now + MINUTE - SECOND, 10) == (0, now + MINUTE)
    pass_deadlines(stores, now + MINUTE)
    assert stores.deadlines.end_overdue(now + MINUTE, 10) == (0, None)
    assert {delivery.job_id for delivery in deliveries_of()} == {"job-1", "job-2"}
    mark_answered(stores.redis)
    begun = stores.deliveries.begin(claim_due(stores.deliveries_due, now + 2 * MINUTE, 10), now + 3 * MINUTE)
    jobs = {job.job_id: job for job in (stores.deliveries.decrypt(each)[1].about for each in begun)}
    still_running = Unresolved(UnresolvedReason.STILL_RUNNING, last_answer_at=now)
    assert jobs["job-1"] == Job("job-1", JobState.OVERDUE, status=1, phone_id="phone", unresolved=still_running)
    never_seen = Unresolved(UnresolvedReason.NEVER_SEEN)
    assert jobs["job-2"] == Job("job-2", JobState.OVERDUE, unresolved=never_seen)
    assert claim_due(stores.polls_due, now + timedelta(hours=1), 10) == ()


def test_a_job_that_has_ended_by_its_deadline_is_not_overdue(
    stores: Stores, registration, deliveries_of, now: datetime
) -> None:
    """Polls were late: CPH is asked once more, before all other jobs."""
    stores.registrations.add(registration(*(f"other-{number}" for number in range(200))))
    stores.registrations.add(registration("job-1", deadline_at=now + MINUTE))
    answer_polls(stores, now)
    assert stores.deadlines.end_overdue(now + MINUTE, 10)[0] == 0
    (item, *_) = claim_due(stores.polls_due, now + MINUTE, 1)
    assert item.id == "job-1"
    assert stores.deadlines.end_overdue(now + MINUTE + SECOND, 10)[0] == 0  # the poll is under way
    stores.scripts.run(stores.watches.complete(item, Job("job-1", JobState.SUCCEEDED), now + MINUTE + SECOND))
    stores.deadlines.end_overdue(now + MINUTE + LAST_POLL, 10)
    assert [delivery.type for delivery in deliveries_of()] == ["job.succeeded"]


def test_a_job_that_still_runs_at_its_deadline_is_overdue_at_once(
    stores: Stores, registration, deliveries_of, now: datetime
) -> None:
    stores.registrations.add(registration("job-1", deadline_at=now + MINUTE))
    stores.deadlines.end_overdue(now + MINUTE, 10)
    assert answer_polls(stores, now + MINUTE) == 1
    assert stores.deadlines.end_overdue(now + MINUTE + SECOND, 10) == (1, None)
    assert [delivery.type for delivery in deliveries_of()] == ["job.overdue"]


def test_the_deadline_of_one_registration_leaves_the_others_watching(
    stores: Stores, registration, deliveries_of, now: datetime
) -> None:
    overdue, waiting = registration(deadline_at=now + MINUTE), registration()
    stores.registrations.add(overdue)
    stores.registrations.add(waiting)
    pass_deadlines(stores, now + MINUTE)
    assert [delivery.registration_id for delivery in deliveries_of()] == [overdue.id]
    assert end(stores, "job-1", now + MINUTE) == 1
    assert {delivery.registration_id for delivery in deliveries_of()} == {overdue.id, waiting.id}


def test_after_the_last_cancel_nobody_asks_any_more(stores: Stores, registration, now: datetime) -> None:
    first, second = registration(), registration()
    stores.registrations.add(first)
    stores.registrations.add(second)
    stores.registrations.cancel("t", first.id)
    assert stores.redis.exists(keys.watch("default", "job-1"))
    stores.registrations.cancel("t", second.id)
    assert claim_due(stores.polls_due, now, 10) == ()
    assert not stores.redis.exists(keys.watch("default", "job-1"))


def test_a_cancel_takes_its_deliveries_off_the_agenda(
    stores: Stores, registration, deliveries_of, now: datetime
) -> None:
    made = registration()
    stores.registrations.add(made)
    end(stores, "job-1", now)
    stores.registrations.cancel("t", made.id)
    assert claim_due(stores.deliveries_due, now, 10) == ()
    assert [delivery.state for delivery in deliveries_of()] == [DeliveryState.CANCELLED]
    assert stores.redis.ttl(keys.registration(made.id)) > 0


def test_a_cancel_says_until_when_an_attempt_under_way_may_last(
    stores: Stores, registration, deliveries_of, now: datetime
) -> None:
    made = registration()
    stores.registrations.add(made)
    end(stores, "job-1", now)
    claimed = claim_due(stores.deliveries_due, now, 10)
    (begun,) = stores.deliveries.begin(claimed, now + 11 * SECOND)
    assert stores.registrations.cancel("t", made.id) == now + 11 * SECOND
    assert stores.registrations.under_way(made.id, now)
    assert not stores.registrations.under_way(made.id, now + 11 * SECOND)
    stores.scripts.run(
        stores.deliveries.record(begun.claimed, Verdict.DELIVERED, NextStep(DeliveryState.DELIVERED), {"number": 1})
    )
    assert not stores.registrations.under_way(made.id, now)
    assert [delivery.state for delivery in deliveries_of()] == [DeliveryState.DELIVERED]
    found = stores.registrations.get("t", made.id)
    assert found is not None
    assert (found[1].pending, found[1].delivered) == (0, 1)


def test_a_key_that_was_used_gives_the_first_answer_again(stores: Stores, registration) -> None:
    key = Idempotency("key", "body", '{"first": true}')
    assert stores.registrations.add(registration(), key) is None
    again = registration()
    assert stores.registrations.add(again, Idempotency("key", "body", "{}")) == Repeated('{"first": true}')
    assert stores.registrations.add(registration(), Idempotency("key", "other body", "{}")) == Repeated(None)
    assert stores.registrations.get("t", again.id) is None
    assert "first" not in stores.redis.get(keys.idempotency("t", "key"))


def test_a_registration_whose_answer_was_lost_is_accepted_once(
    stores: Stores, registration, deliveries_of, now: datetime
) -> None:
    """redis-py sends a script again after the connection broke, and the job may have ended in the meantime."""
    made = registration("job-1", "job-2")
    stores.registrations.add(made)
    end(stores, "job-1", now)
    assert stores.registrations.add(made) is None
    found = stores.registrations.get("t", made.id)
    assert found is not None
    assert (found[1].jobs, found[1].pending) == ({"job-1": JobState.SUCCEEDED, "job-2": JobState.PENDING}, 1)
    end(stores, "job-2", now + MINUTE)
    found = stores.registrations.get("t", made.id)
    assert found is not None
    assert found[1].state is RegistrationState.FINISHED
    assert len(deliveries_of()) == 2


def test_a_value_whose_rewriting_was_not_answered_is_rewritten_once(stores: Stores) -> None:
    stores.redis.set("record", "before")
    replace_by = partial(ScriptCall, "compare_and_set", name="record", old="before", **NOTHING)
    assert [stores.scripts.run(replace_by(new="after")) for _ in range(2)] == [1, 1]
    assert stores.scripts.run(replace_by(new="other")) == 0


def test_pages_neither_skip_nor_repeat_while_things_change(stores: Stores, registration, now: datetime) -> None:
    made = [registration(at=now + number * SECOND) for number in range(450)]
    for each in made:
        stores.registrations.add(each)
    seen, cursor = [], None
    for number in range(10_000):
        page, cursor = stores.registrations.page("t", limit=100, cursor=cursor, wanted=lambda _: True)
        seen += [found.id for found, _ in page]
        stores.registrations.add(registration(at=now + (1_000 + number) * SECOND))
        if cursor is None:
            break
    assert seen == [each.id for each in reversed(made)]


def test_a_page_holds_only_what_is_wanted(stores: Stores, registration, now: datetime) -> None:
    made = [registration(f"job-{number}", at=now + number * SECOND) for number in range(250)]
    for each in made:
        stores.registrations.add(each)
    page, cursor = stores.registrations.page(
        "t", limit=5, cursor=None, wanted=lambda known: "job-3" in known[0].job_ids
    )
    assert ([found.id for found, _ in page], cursor) == ([made[3].id], None)


def test_the_indexes_do_not_grow_for_ever(stores: Stores, registration, now: datetime) -> None:
    for day in range(0, 100, 10):
        at = now + timedelta(days=day)
        stores.registrations.add(registration(f"job-{day}", at=at))
        end(stores, f"job-{day}", at)
    assert stores.redis.zcard(keys.registrations("t")) == 3
    assert stores.redis.zcard(keys.deliveries("t")) == 3


def test_the_index_forgets_what_is_gone(stores: Stores, registration) -> None:
    made = registration()
    stores.registrations.add(made)
    stores.redis.delete(keys.registration(made.id))
    assert stores.registrations.page("t", limit=5, cursor=None, wanted=lambda _: True) == ([], None)
    assert stores.redis.zcard(keys.registrations("t")) == 0


@pytest.mark.parametrize("last", [NextStep(DeliveryState.DELIVERED), NextStep(DeliveryState.DEAD)])
def test_what_has_ended_is_kept_for_a_while_and_what_has_not_for_ever(
    runtime: Runtime, registration: Callable, now: datetime, last: NextStep
) -> None:
    made = registration()
    runtime.stores.registrations.add(made)
    end(runtime.stores, "job-1", now)
    expiring = [keys.registration(made.id), keys.progress(made.id)]
    assert [runtime.stores.redis.ttl(key) for key in expiring] == [-1, -1]
    (begun,) = runtime.stores.deliveries.begin(claim_due(runtime.stores.deliveries_due, now, 1), now + MINUTE)
    runtime.stores.scripts.run(runtime.stores.deliveries.record(begun.claimed, Verdict.RETRY, last, {"number": 1}))
    expiring += [keys.delivery(begun.claimed.id), keys.attempts(begun.claimed.id)]
    assert all(0 < runtime.stores.redis.ttl(key) <= runtime.settings.retention.total_seconds() for key in expiring)


def test_the_end_of_many_overdue_jobs_is_cut_into_short_calls(stores: Stores, registration, now: datetime) -> None:
    made = [
        registration(*(f"{number}-{job}" for job in range(250)), deadline_at=now + MINUTE, tenant="t")
        for number in range(2)
    ]
    for one in made:
        stores.registrations.add(one)
    for _ in made:
        assert stores.deadlines.end_overdue(now + MINUTE, 100)[0] == 0
    at = now + MINUTE + LAST_POLL
    ended = [stores.deadlines.end_overdue(at, 100) for _ in range(5)]
    assert [count for count, _ in ended] == [0, 0, 1, 0, 1]
    assert ended[-1][1] is None
    assert stores.redis.hget(keys.tenant_counts("t"), "jobs") == "0"


@pytest.mark.parametrize(("request_id", "most"), [(None, 1_000), ("r", 100)])
def test_a_tenant_may_register_for_one_job_or_request_only_so_often(
    stores: Stores, registration, now: datetime, request_id: str | None, most: int
) -> None:
    """Ending a job, and recording a list, takes Redis a time in proportion to the registrations that wait."""
    fields = {"request_id": request_id, "job_ids": () if request_id else ("job-1",)}

    def add(tenant: str = "t") -> str:
        made = registration(tenant=tenant, **fields)
        stores.registrations.add(made, quotas=Quotas())
        return made.id

    ids = [add() for _ in range(most)]
    with pytest.raises(QuotaReached) as reached:
        add()
    assert reached.value.quota is Quota.SAME_JOB
    add("other")
    stores.registrations.cancel("t", ids[0])
    add()
    if not request_id:
        answer_polls(stores, now)
        (item,) = claim_due(stores.polls_due, now + timedelta(hours=1), 1)
        stores.scripts.run(stores.watches.complete(item, Job("job-1", JobState.SUCCEEDED), now))
        add()
