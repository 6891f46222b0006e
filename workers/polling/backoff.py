"""What an answer that says nothing does to its whole project."""

import logging
from datetime import datetime

from app import logs
from app.cph.client import Unanswered
from app.cph.errors import Throttle
from app.domain.breaker import PAUSES
from app.domain.project_health import CHECK_CREDENTIALS, TRY_AT_ONCE
from app.store.agenda import Agenda
from app.store.engine.scripts import ScriptCall

SAFELY = 0.9  # of a limit that was told: other clients of the same account call, too


def back_off(agenda: Agenda, project: str, answer: Unanswered, now: datetime) -> list[ScriptCall]:
    """A pause if it asks for one; after being throttled also a slower pace, after being turned away the breaker's."""
    if answer.unauthenticated:
        _turned_away(agenda, project, answer, now)
        return []
    logs.event("cph.unanswered", level=logging.WARNING, project=project, reason=answer.reason)
    if answer.pause is None:
        return []
    if answer.throttled is None:
        return [agenda.pause(project, now + answer.pause)]
    return [agenda.throttle(project, now, now + answer.pause, _told_rate(answer.throttled))]


def _turned_away(agenda: Agenda, project: str, answer: Unanswered, now: datetime) -> None:
    """What is in hand is over before the pause is, so all of it is one refusal, and one line in the log."""
    pause = agenda.refuse(project, now, answer.pause or PAUSES[0], PAUSES)
    if pause:
        logs.event(
            "project.refused",
            level=logging.ERROR,
            project=project,
            reason=answer.reason,
            pause_s=int(pause.total_seconds()),
            remedy=f"{CHECK_CREDENTIALS}; {TRY_AT_ONCE}",
        )


def _told_rate(throttle: Throttle) -> float | None:
    if throttle.limit is None or throttle.window is None:
        return None
    return SAFELY * throttle.limit / throttle.window.total_seconds()
