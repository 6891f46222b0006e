"""Notices that Redis has lost its data: after a FLUSHALL, or a restart without its disk."""

import logging
from datetime import datetime
from uuid import uuid4

from app import logs
from app.domain.times import to_ms
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts
from app.store.engine.unreadable import moment

REMEDY = (
    "all registrations from before are gone: their callers must register again, unless this is a restored backup;"
    " find out who emptied Redis, or why it started without its disk"
)


class DataMarker:
    """A key with a random id, which each dispatcher remembers."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._id = ""

    def lost_at(self) -> datetime | None:
        """Returns when a dispatcher last found other data than it had known. Raises Unavailable."""
        return moment(self._scripts.redis.hget(keys.data(), "lost"))

    def check(self, now: datetime) -> None:
        """Reports once if Redis has other data than at the last call. Raises Unavailable."""
        known = self._id
        call = ScriptCall("check_data", known=known, new=uuid4().hex, now=to_ms(now))
        self._id = self._scripts.run(call)
        if known not in ("", self._id):
            logs.event("redis.data_lost", level=logging.ERROR, remedy=REMEDY)
