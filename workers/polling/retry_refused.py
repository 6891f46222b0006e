"""Retries refused projects when their credentials change, or when an operator asks for it."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from threading import Event

from app import logs
from app.config.reloading import READ_EVERY_S
from app.cph.client import CphClient
from app.domain.breaker import PAUSES
from app.domain.errors import Unavailable, UnfitRedis
from app.store.agenda import Agenda
from app.store.engine import keys
from app.store.engine.scripts import Scripts
from workers.engine.stop_flag import StopFlag

# All workers see a change within READ_EVERY_S, so wrong credentials cost two failures, not one for each worker.
SOON = timedelta(seconds=2 * READ_EVERY_S)


class RefusedProjectRetry:
    """clients: the current ones; the object stays the same while its project's settings do."""

    def __init__(
        self,
        agenda: Agenda,
        scripts: Scripts,
        clients: Mapping[str, CphClient],
        clock: Callable[[], datetime],
    ) -> None:
        self._scripts = scripts
        self._agenda = agenda
        self._clients = clients
        self._clock = clock
        self._known: dict[str, CphClient] = {}
        self._asked = Event()

    def ask(self) -> None:
        """Requests a retry of all projects now. Safe in a signal handler."""
        self._asked.set()

    def run(self, stopping: StopFlag) -> None:
        """Compares the clients every READ_EVERY_S, until told to stop. Nothing else reads them while one is refused."""
        while not stopping.is_set():
            if asked := self._asked.is_set():
                self._asked.clear()
            try:
                self.tick(asked=asked)
            except (Unavailable, UnfitRedis) as error:
                logs.event("worker.waits", level=logging.WARNING, kind="retrying", reason=str(error))
            self._asked.wait(READ_EVERY_S)

    def tick(self, *, asked: bool) -> None:
        """Retries the projects whose client is new; with `asked`, all of them."""
        calls, clients = [], dict(self._clients)
        for project, client in clients.items():
            known = self._known.get(project)
            if known is client and not asked:
                continue
            changed = known is not None and known is not client
            # A worker that just started may be restarting in a loop.
            gap = SOON if asked or changed else PAUSES[0]
            calls.append(
                self._agenda.retry_soon(project, self._clock(), gap, forget_key=keys.token(project) if changed else "")
            )
        if calls:
            self._scripts.run_all(calls)
        self._known = clients
