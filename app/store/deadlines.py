"""Ends registrations whose deadline has passed. Needs no secret: the dispatcher does it."""

from datetime import datetime, timedelta

from app.domain.times import to_ms
from app.store.engine.scripts import ScriptCall, Scripts
from app.store.engine.unreadable import nearest
from app.store.watches import LAST_SEEN

LAST_POLL = timedelta(seconds=20)  # after a deadline: how long to wait for the answer to one more poll


class Deadlines:
    def __init__(self, scripts: Scripts, *, retention: timedelta) -> None:
        self._scripts = scripts
        self._keep_s = int(retention.total_seconds())

    def end_overdue(self, now: datetime, limit: int) -> tuple[int, datetime | None]:
        """Ends registrations whose deadline has passed, once their open jobs have been polled once more.

        limit: jobs after which the call ends, as it blocks Redis. Returns how many ended, and when to call again.
        """
        ended, following = self._scripts.run(
            ScriptCall(
                "end_overdue",
                now=to_ms(now),
                limit=limit,
                keep_s=self._keep_s,
                last_poll_ms=LAST_POLL // timedelta(milliseconds=1),
                last_seen=LAST_SEEN,
            )
        )
        return ended, nearest(float(following)) if following else None
