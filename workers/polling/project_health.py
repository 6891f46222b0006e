"""Judges and records the health of each CPH project, as poll workers see it, and its rate."""

from collections.abc import Callable
from datetime import datetime, timedelta

from app.cph.client import UNKNOWN_JOB_ID, CphClient, Listing, MayNotList, Outcome, Unanswered
from app.domain.project_health import ProjectHealth
from app.store.agenda import Agenda
from app.store.engine.scripts import ScriptCall
from app.store.project_health import set_project_health
from workers.polling.backoff import why_unresolved
from workers.telemetry import Telemetry, unreadable_part

RECORD_EVERY = timedelta(seconds=1)


class HealthRecorder:
    """For use by many threads; two of them may record the same, which is harmless.

    rate_of: calls a second of a project; None if it has no rate of its own.
    """

    def __init__(self, agenda: Agenda, rate_of: Callable[[str], float | None], telemetry: Telemetry) -> None:
        self._agenda = agenda
        self._telemetry = telemetry
        self._rate_of = rate_of
        self._recorded_at: dict[tuple[str, type[Outcome | Listing] | None, bool, bool], datetime] = {}

    def record(self, project: str, client: CphClient, outcome: Outcome | Listing, now: datetime) -> list[ScriptCall]:
        """Returns the scripts to run: at most once a second for answers, and for each kind of failure on its own."""
        # MayNotList proves that CPH knows our credentials, not that it accepts any call.
        accepted = not isinstance(outcome, Unanswered | MayNotList)
        refused = isinstance(outcome, Unanswered) and outcome.unauthenticated
        unreadable = unreadable_part(outcome)
        key = (project, None if accepted else type(outcome), refused, unreadable is not None)
        if key in self._recorded_at and now < self._recorded_at[key] + RECORD_EVERY:
            return []
        self._recorded_at[key] = now
        if not accepted:  # the next answer ends a row of failures
            for unreadable_in_part in (False, True):
                self._recorded_at.pop((project, None, False, unreadable_in_part), None)
        if accepted and self._agenda.close_breaker(project, now):
            self._telemetry.project_answers_again(project)
        failing = why_unresolved(outcome) if isinstance(outcome, Unanswered) else None
        # The rate, too: the setting may have changed, or Redis may have lost its last second.
        return [
            set_project_health(project, _health(client, outcome, unreadable, now), failing),
            self._agenda.set_rate(project, self._rate_of(project)),
        ]

    def judge(
        self, project: str, client: CphClient, answer: Unanswered, now: datetime
    ) -> tuple[Unanswered, list[ScriptCall]]:
        """Finds out, after some failures in a row that may concern one call each, whether every call fails.

        Returns the answer, then as a refusal of the project, and the scripts to run.
        """
        if _may_concern_all(answer) and self._agenda.count_refused_call(project, now):
            return self.check(project, client, answer, now)
        return answer, []

    def check(
        self, project: str, client: CphClient, answer: Unanswered, now: datetime
    ) -> tuple[Unanswered, list[ScriptCall]]:
        """Same as `judge`, at once: asks CPH for a job that cannot exist, and compares the answers."""
        outcome = client.show_job(UNKNOWN_JOB_ID)
        self._telemetry.project_checked(project, outcome)
        scripts = [self._agenda.spend_budget(project, 1)]
        if not isinstance(outcome, Unanswered):
            return answer, [*scripts, *self.record(project, client, outcome, now)]
        if outcome.unauthenticated:
            return outcome, scripts
        return answer.project_refused if _may_concern_all(outcome) else answer, scripts


def _may_concern_all(answer: Unanswered) -> bool:
    return answer.permanent or answer.unreadable


def _health(
    client: CphClient, outcome: Outcome | Listing, unreadable: Unanswered | None, now: datetime
) -> ProjectHealth:
    failure = outcome if isinstance(outcome, Unanswered) else None
    return ProjectHealth(
        answered_at=None if failure else now,
        failed_at=now if failure else None,
        failure=failure.reason if failure else None,
        advice=failure.remedy if failure else None,
        credentials_expire_at=client.credentials_expire_at,
        clock_ahead=client.clock_ahead,
        unreadable_at=now if unreadable else None,
        unreadable=unreadable.reason if unreadable else None,
    )
