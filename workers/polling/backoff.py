"""Slows down or pauses a project after a call that brought no usable answer."""

from datetime import datetime

from app.cph.client import Unanswered
from app.cph.errors import Throttle
from app.domain.breaker import PAUSES
from app.domain.job import Unresolved, UnresolvedReason
from app.store.agenda import Agenda
from app.store.engine.scripts import ScriptCall
from workers.telemetry import Telemetry

SHARE_OF_LIMIT = 0.9  # of a rate limit that CPH names: other clients of the same account call, too


def back_off(agenda: Agenda, telemetry: Telemetry, project: str, answer: Unanswered, now: datetime) -> list[ScriptCall]:
    """Returns the scripts to run: a pause, with a lower rate if throttled. A refusal opens the breaker at once."""
    if answer.unauthenticated:
        _open_breaker(agenda, telemetry, project, answer, now)
        return []
    report = telemetry.cph_unreadable if answer.unreadable else telemetry.cph_unanswered
    report(project, answer.reason)
    if answer.pause is None:
        return []
    if answer.throttled is None:
        return [agenda.pause(project, now + answer.pause)]
    return [agenda.throttle(project, now, now + answer.pause, _named_rate(answer.throttled))]


def why_unresolved(answer: Unanswered) -> Unresolved:
    """Returns why a job has no result if this is the last answer before its deadline."""
    if answer.unreadable:
        reason = UnresolvedReason.UNREADABLE
    elif answer.throttled:
        reason = UnresolvedReason.CPH_THROTTLED
    elif answer.unauthenticated or answer.permanent:
        reason = UnresolvedReason.CPH_REFUSED
    else:
        reason = UnresolvedReason.CPH_UNREACHABLE
    return Unresolved(reason, last_error=answer.error_code)


def _open_breaker(agenda: Agenda, telemetry: Telemetry, project: str, answer: Unanswered, now: datetime) -> None:
    """Calls in progress end within the pause, so all of them count as one refusal, with one log line."""
    requested = answer.pause or PAUSES[0]
    # Refusals by a code last until somebody acts: they are tried again ever more rarely.
    pause = agenda.open_breaker(project, now, requested, (requested,) if answer.presumed else PAUSES)
    if pause:
        telemetry.project_refused(project, answer.reason, answer.remedy, pause)


def _named_rate(throttle: Throttle) -> float | None:
    if throttle.limit is None or throttle.window is None:
        return None
    return SHARE_OF_LIMIT * throttle.limit / throttle.window.total_seconds()
