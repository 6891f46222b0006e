"""What poll workers tell of each CPH project: how it fares, and its pace."""

from collections.abc import Callable
from datetime import datetime, timedelta

from app import logs
from app.cph.client import CphClient, Listing, MayNotList, Outcome, Unanswered
from app.domain.project_health import ProjectHealth
from app.store.agenda import Agenda
from app.store.engine.scripts import ScriptCall
from app.store.project_health import note

NOTE_EVERY = timedelta(seconds=1)


class HealthRecorder:
    """For use by many threads; two of them may tell the same, which is no harm.

    rate_of: calls a second of a project, None where it has no rate of its own.
    """

    def __init__(self, agenda: Agenda, rate_of: Callable[[str], float | None]) -> None:
        self._agenda = agenda
        self._rate_of = rate_of
        self._noted: dict[tuple[str, type[Outcome | Listing] | None], datetime] = {}

    def record(self, project: str, client: CphClient, outcome: Outcome | Listing, now: datetime) -> list[ScriptCall]:
        """Answers and failures each once a second: a failure that pauses the project is told at once."""
        # Who may not list is known to CPH, but perhaps may not ask for anything.
        accepted = not isinstance(outcome, Unanswered | MayNotList)
        key = (project, None if accepted else type(outcome))
        if key in self._noted and now < self._noted[key] + NOTE_EVERY:
            return []
        self._noted[key] = now
        if accepted and self._agenda.close_breaker(project, now):
            logs.event("project.answers_again", project=project)
        # The rate as well: it may have changed, or a Redis without its last second may have lost it.
        return [note(project, _health(client, outcome, now)), self._agenda.set_rate(project, self._rate_of(project))]


def _health(client: CphClient, outcome: Outcome | Listing, now: datetime) -> ProjectHealth:
    expire_at, ahead = client.credentials_expire_at, client.clock_ahead
    match outcome:
        case Unanswered(reason):
            return ProjectHealth(failed_at=now, failure=reason, credentials_expire_at=expire_at, clock_ahead=ahead)
        case _:
            return ProjectHealth(answered_at=now, credentials_expire_at=expire_at, clock_ahead=ahead)
