"""Reads records one by one, so that a damaged one costs itself only."""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

from app import logs
from app.domain.errors import Unavailable
from app.domain.times import from_ms
from app.store.engine.scripts import ScriptCall, Scripts

T = TypeVar("T")
N = TypeVar("N", int, None)
LATEST_MS = 9_999_999_999_999  # in the year 2286
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, IndexError)  # what parsing a damaged record raises


def whole(stored: str | None, default: N) -> int | N:
    """Returns a stored number; the default if it is missing or damaged."""
    try:
        return int(stored or "")
    except ValueError:
        return default


def moment(stored: str | float | None) -> datetime | None:
    """Returns a stored time (ms); None if it is missing or damaged."""
    with suppress(OverflowError, ValueError):  # int(inf)
        return from_ms(int("" if stored is None else stored))
    return None


def nearest(score: float) -> datetime:
    """Returns the time (ms) of a sorted set; a damaged one is as early or late as can be."""
    return from_ms(int(min(max(score, 0), LATEST_MS)))


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
