"""Puts back what is missing on the agendas and in the indexes, after a record could not be read or was deleted."""

from collections import Counter
from datetime import datetime, timedelta

from app.domain.times import to_ms
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts

EVERYTHING = "cph:*"


class Reconciler:
    """Examines all keys, some at a time, again and again. One pass costs about 10 μs of Redis for each key."""

    def __init__(self, scripts: Scripts, *, retention: timedelta) -> None:
        self._scripts = scripts
        self._keep_s = int(retention.total_seconds())
        self._cursor = 0
        self._counted: Counter[str] = Counter()
        self._healing_passes = 0

    def heal(self) -> None:
        """Starts two passes from the beginning: one mends, the other sets the counts of metrics and quotas."""
        self._cursor, self._healing_passes = 0, 2
        self._counted.clear()

    @property
    def heals(self) -> bool:
        return self._healing_passes > 0

    def step(self, now: datetime, count: int) -> None:
        """Examines about `count` keys."""
        self._cursor, names = self._scripts.redis.scan(self._cursor, match=EVERYTHING, count=count)
        if names:
            answer = self._scripts.run(ScriptCall("reconcile", now=to_ms(now), keep_s=self._keep_s, names=names))
            self._counted.update(dict(zip(answer[::2], answer[1::2], strict=True)))
        if self._cursor == 0:
            self._end_pass()

    def unreadable(self) -> dict[str, int]:
        """Returns what scripts could not read, by when (ms)."""
        return {
            name: int(score) for name, score in self._scripts.redis.zrange(keys.unreadable(), 0, -1, withscores=True)
        }

    def _end_pass(self) -> None:
        if self._healing_passes == 1:
            values = [value for item in self._counted.items() for value in item]
            self._scripts.run(ScriptCall("set_counts", values=values))
        self._healing_passes = max(0, self._healing_passes - 1)
        self._counted.clear()
