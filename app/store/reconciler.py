"""Puts back what is missing on the agendas and in the indexes, after a record could not be read or was deleted."""

import logging
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from time import monotonic

from app import logs
from app.domain.times import to_ms
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts

EVERYTHING = f"{keys.PREFIX}*"
STEP = 200  # keys, which blocks Redis for about 2 ms
HURRY = 10  # steps in a row, while something has been unreadable recently
LONGEST_S = 0.2  # of these steps: the dispatcher has more to do
LISTED_FOR = timedelta(days=1)  # since it was last found unreadable
LOGGED_AT_MOST = 20  # at once


class Reconciler:
    """Examines all keys, some at a time, again and again. One pass costs about 10 μs of Redis for each key.

    A pass also counts what metrics and quotas count (names as in reconcile.lua).
    """

    def __init__(self, scripts: Scripts, *, retention: timedelta) -> None:
        self._scripts = scripts
        self._keep_s = int(retention.total_seconds())
        self._cursor = 0
        self._known: set[str] = set()  # what is listed as unreadable
        self._counted: Counter[str] = Counter()  # in this pass
        self._changed: Mapping[str, int] = {}  # by how much counts had changed until the last pass
        self._errors: Mapping[str, int] = {}  # of the counts after the last pass

    def run(self, now: datetime) -> None:
        """Does a second's share of the work. Raises Unavailable."""
        self._report_unreadable(now)
        until = monotonic() + LONGEST_S
        for _ in range(HURRY if self._known else 1):
            self.step(now)
            if monotonic() > until:
                break

    def step(self, now: datetime, count: int = STEP) -> bool:
        """Examines about `count` keys. Returns whether this ends a pass."""
        self._cursor, names = self._scripts.redis.scan(self._cursor, match=EVERYTHING, count=count)
        while names:
            call = ScriptCall("reconcile", now=to_ms(now), keep_s=self._keep_s, names=names)
            done, *answer = self._scripts.run(call)
            self._counted.update(dict(zip(answer[::2], answer[1::2], strict=True)))
            names = names[done:]
        if self._cursor == 0:
            self._correct_counts()
            self._counted.clear()
        return self._cursor == 0

    def unreadable(self) -> list[str]:
        """Returns what could not be read within the last day, the oldest first. Raises Unavailable."""
        return self._scripts.redis.zrange(keys.unreadable(), 0, -1)

    def _report_unreadable(self, now: datetime) -> None:
        self._scripts.redis.zremrangebyscore(keys.unreadable(), 0, to_ms(now - LISTED_FOR))
        listed = set(self.unreadable())
        new, self._known = sorted(listed - self._known), listed
        for name in new[:LOGGED_AT_MOST]:
            logs.event("record.unreadable", level=logging.ERROR, record=name, remedy="see `cph-bridge doctor`")
        if (unlogged := len(new) - LOGGED_AT_MOST) > 0:
            logs.event("record.unreadable", level=logging.ERROR, more=unlogged)

    def _correct_counts(self) -> None:
        """Corrects what two passes in a row have found too high or too low, by the smaller difference.

        Counts change during a pass. A difference that may be due to that is no error. One pass does not suffice: SCAN
        may return a key twice.
        """
        stored = self._add(dict.fromkeys(self._counted, 0))
        errors = {
            name: _beyond(self._counted[name] - now, abs(changed - self._changed[name])) if name in self._changed else 0
            for name, (now, changed) in stored.items()
        }
        both = {name: (error, self._errors.get(name, 0)) for name, error in errors.items()}
        corrections = {name: min(pair, key=abs) for name, pair in both.items() if pair[0] * pair[1] > 0}
        if corrections:
            logs.event("counts.corrected", level=logging.WARNING, corrections=corrections)
            self._add(corrections)
        self._changed = {name: changed for name, (_, changed) in stored.items()}
        self._errors = {name: error - corrections.get(name, 0) for name, error in errors.items()}

    def _add(self, amounts: Mapping[str, int]) -> Mapping[str, tuple[int, int]]:
        """Returns each count, and by how much those of its tenant or of the deployment have changed so far."""
        values = [value for item in amounts.items() for value in item]
        answer = self._scripts.run(ScriptCall("add_to_counts", values=values))
        return dict(zip(amounts, zip(answer[::2], answer[1::2], strict=True), strict=True))


def _beyond(error: int, changed: int) -> int:
    """Returns what of the error so many changes cannot explain."""
    size = max(0, abs(error) - changed)
    return size if error > 0 else -size
