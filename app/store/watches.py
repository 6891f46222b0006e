"""Watches: one for each (project, job), however many registrations wait for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.domain.job import Job, JobState, Unresolved
from app.domain.times import to_ms
from app.domain.wire import to_json
from app.store.agenda import Claimed
from app.store.encryption.cipher import Cipher
from app.store.encryption.sealed_values import seal_job
from app.store.engine.scripts import Argument, ScriptCall, Scripts
from app.store.engine.unreadable import moment

LAST_SEEN = ("status", "request_id", "phone_id", "server_id", "begin_time")
FIELDS = ("since", "unknown_since", "operation", "unlisted", "state", "failing", *LAST_SEEN)


@dataclass(frozen=True, slots=True)
class Watch:
    """The known state of a job that is polled. traceparents: of the waiting registrations, if loaded.

    was_running: CPH has shown it, by ShowJob or ListJobs. failing: as stored, why the last poll was not answered.
    unlisted_since: when ListJobs did not show it.
    """

    project: str
    job_id: str
    since: datetime
    unknown_since: datetime | None
    operation: str | None
    last_seen: tuple[str | None, ...]  # values of LAST_SEEN
    traceparents: tuple[str, ...] = ()
    was_running: bool = False
    failing: str | None = None
    unlisted_since: datetime | None = None

    @property
    def request_id(self) -> str | None:
        return self.last_seen[LAST_SEEN.index("request_id")]

    @property
    def was_shown(self) -> bool:
        """True if ShowJob has shown the job."""
        return self.last_seen[LAST_SEEN.index("status")] is not None


class Watches:
    def __init__(self, scripts: Scripts, cipher: Cipher, *, retention: timedelta) -> None:
        self._scripts = scripts
        self._cipher = cipher
        self._keep_s = int(retention.total_seconds())

    def load(self, claimed: Sequence[Claimed], *, traced: bool = False) -> list[Watch | None]:
        """Loads the watches in one round trip; None where no registration waits any more. traced: with traceparents."""
        calls = [ScriptCall("load_watch", project=item.lane, job=item.id, fields=FIELDS) for item in claimed]
        answers, traces = with_traces(self._scripts, calls, claimed if traced else ())
        return [
            _watch(item, traceparents, answer) if answer else None
            for item, traceparents, answer in zip(claimed, traces, answers, strict=True)
        ]

    def postpone(
        self,
        claimed: Claimed,
        watch: Watch,
        due: datetime,
        now: datetime,
        job: Job | None = None,
        *,
        failing: Unresolved | None = None,
    ) -> ScriptCall:
        """Schedules the next poll at `due`. job: what CPH showed. failing: why it gave no answer."""
        if job is not None:
            return self._postpone(claimed, due, now, (*_answered(watch, now), *self._changes(watch, job)))
        stored = stored_failure(failing)
        return self._postpone(claimed, due, now, () if stored in ("", watch.failing) else ("failing", stored))

    def postpone_unknown(self, claimed: Claimed, watch: Watch, due: datetime, now: datetime) -> ScriptCall:
        """Schedules the next poll of a job unknown to CPH; the grace time runs from the first such answer."""
        unknown_since = () if watch.unknown_since else ("unknown_since", to_ms(now))
        return self._postpone(claimed, due, now, (*_answered(watch, now), *unknown_since))

    def complete(self, claimed: Claimed, job: Job, now: datetime) -> ScriptCall:
        """Ends the job: creates one event for each registration that wants it."""
        return ScriptCall(
            "complete",
            now=to_ms(now),
            project=claimed.lane,
            job=claimed.id,
            fence=claimed.fence,
            state=job.state,
            snapshot=to_json(seal_job(self._cipher, job)),
            keep_s=self._keep_s,
        )

    @staticmethod
    def _postpone(claimed: Claimed, due: datetime, now: datetime, changes: Sequence[Argument]) -> ScriptCall:
        # The longer the interval between polls, the longer a poll may wait.
        patience = to_ms(due) - to_ms(now)
        return ScriptCall(
            "postpone",
            project=claimed.lane,
            job=claimed.id,
            fence=claimed.fence,
            due=to_ms(due),
            patience=patience,
            changes=changes,
        )

    @staticmethod
    def _changes(watch: Watch, job: Job) -> tuple[str, ...]:
        """Returns only the fields that changed: most answers repeat "running"."""
        seen = [job.status, job.request_id, job.phone_id, job.server_id, job.begin_time]
        now_seen = tuple(None if value is None else str(value) for value in seen)
        known_again = ("unknown_since", "") if watch.unknown_since else ()
        if now_seen == watch.last_seen:
            return known_again
        pairs = zip(LAST_SEEN, now_seen, strict=True)
        return ("state", JobState.RUNNING.value, *known_again, *(text or "" for pair in pairs for text in pair))


def stored_failure(failing: Unresolved | None) -> str:
    """Returns why a poll was not answered, as stored beside the time of the last answer; '' for nothing."""
    return f"{failing.reason} {failing.last_error or ''}".rstrip() if failing else ""


def _answered(watch: Watch, now: datetime) -> tuple[Argument, ...]:
    return ("answered", to_ms(now), *(("failing", "") if watch.failing else ()))


def with_traces(
    scripts: Scripts, calls: Sequence[ScriptCall], traced: Sequence[Claimed]
) -> tuple[list[Any], list[tuple[str, ...]]]:
    """Runs the calls; returns their answers, and the traceparents of each item in `traced`: empty if none are."""
    answers = scripts.run_all(
        [*calls, *(ScriptCall("load_traceparents", project=item.lane, item=item.id) for item in traced)]
    )
    found = [tuple(traceparents) for traceparents in answers[len(calls) :]]
    return answers[: len(calls)], found or [()] * len(calls)


def _watch(item: Claimed, traceparents: tuple[str, ...], values: Sequence[str | None]) -> Watch:
    fields = dict(zip(FIELDS, values, strict=True))
    return Watch(
        project=item.lane,
        job_id=item.id,
        since=moment(fields["since"]) or item.due_at,
        unknown_since=moment(fields["unknown_since"]),
        operation=fields["operation"],
        last_seen=tuple(fields[name] for name in LAST_SEEN),
        traceparents=traceparents,
        was_running=fields["state"] == JobState.RUNNING,
        failing=fields["failing"],
        unlisted_since=moment(fields["unlisted"]),
    )
