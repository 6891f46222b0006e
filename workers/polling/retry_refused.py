"""Has a project that is refused tried again when its credentials have changed, or when an operator says so."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from threading import Event

from app import logs
from app.config.reloading import READ_EVERY_S
from app.cph.client import CphClient
from app.domain.breaker import PAUSES
from app.domain.errors import Unavailable
from app.store.agenda import Agenda
from app.store.engine import keys
from app.store.engine.scripts import Scripts
from workers.engine.stop_flag import StopFlag

# All workers see a change within READ_EVERY_S, so a wrong one costs two failures, and not one for each worker.
SOON = timedelta(seconds=2 * READ_EVERY_S)


class RefusedProjectRetry:
    """clients: those in force; one of which nothing has changed stays the same."""

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
        """All projects, now. A signal handler may call it."""
        self._asked.set()

    def run(self, stopping: StopFlag) -> None:
        """While a project is refused nobody else looks whether its credentials have changed."""
        while not stopping.is_set():
            if asked := self._asked.is_set():
                self._asked.clear()
            try:
                self.tick(asked=asked)
            except Unavailable as error:
                logs.event("worker.waits", level=logging.WARNING, kind="retrying", reason=str(error))
            self._asked.wait(READ_EVERY_S)

    def tick(self, *, asked: bool) -> None:
        calls, clients = [], dict(self._clients)
        for project, client in clients.items():
            known = self._known.get(project)
            if known is client and not asked:
                continue
            changed = known is not None and known is not client
            # A worker that has just started may be one that starts all the time.
            gap = SOON if asked or changed else PAUSES[0]
            calls.append(self._agenda.retry(project, self._clock(), gap, forget=keys.token(project) if changed else ""))
        if calls:
            self._scripts.run_all(calls)
        self._known = clients
