"""Reads records one by one, so that a damaged one costs itself only."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from app import logs
from app.domain.errors import Unavailable
from app.store.engine.scripts import ScriptCall, Scripts

T = TypeVar("T")
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, IndexError)  # what parsing a damaged record raises


def read(scripts: Scripts, what: str, parse: Callable[[], T]) -> T | None:
    """Returns what `parse` returns. If the record is damaged: reports it and returns None.

    what: the key or id, for the log, the list `keys.unreadable()` and the metric.
    """
    try:
        return parse()
    except DAMAGE as error:
        logs.event("record.unreadable", level=logging.ERROR, record=what, reason=type(error).__name__)
        with suppress(Unavailable):
            scripts.run(ScriptCall("report_unreadable", what=what))
        return None
