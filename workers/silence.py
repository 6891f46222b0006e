"""What an answer that says nothing does to its whole project."""

import logging
from datetime import datetime

from app import logs
from app.cph.client import Unanswered
from app.cph.refusal import Throttle
from app.store.agenda import Agenda
from app.store.scripts import Call

SAFELY = 0.9  # of a limit that was told: other clients of the same account call, too


def hush(agenda: Agenda, project: str, answer: Unanswered, now: datetime) -> list[Call]:
    """A pause if it asks for one; after being throttled also a slower pace."""
    logs.event("cph.unanswered", level=logging.WARNING, project=project, reason=answer.reason)
    if answer.pause is None:
        return []
    if answer.throttled is None:
        return [agenda.pause(project, now + answer.pause)]
    return [agenda.throttle(project, now, now + answer.pause, _told_rate(answer.throttled))]


def _told_rate(throttle: Throttle) -> float | None:
    if throttle.limit is None or throttle.window is None:
        return None
    return SAFELY * throttle.limit / throttle.window.total_seconds()
