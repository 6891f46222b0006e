"""Clients that register job after job while APIs come and go, and repeat what fails as the contract says."""

import random
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any, Self
from uuid import uuid4

import requests

from app.devkit.processes import wait_until

CALLERS = 3
PAUSE_S = 0.2
PATIENCE_S = 60.0
TO_BE_REPEATED = {409, 503}  # the first is still under way; not now
CUT_OFF = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)


@dataclass(frozen=True, slots=True)
class Taken:
    """A registration that was acknowledged. answer: the first one. events: how many it comes to in the end."""

    key: str
    body: dict[str, Any]
    answer: dict[str, Any]
    events: int

    @property
    def id(self) -> str:
        id: str = self.answer["id"]
        return id


class Callers:
    """While entered, each registers what `wanted` gives, at all `apis`, over and over. taken: what was acknowledged.

    repeated: why requests were made once more. compared: how many answers had to be like an earlier one, and were.
    """

    def __init__(self, api_key: str, wanted: Callable[[], dict[str, Any]]) -> None:
        self._authorization = f"Bearer {api_key}"
        self._wanted = wanted
        self._stopping = Event()
        self._pool = ThreadPoolExecutor(CALLERS)
        self._running: list[Future[None]] = []
        self.apis: tuple[str, ...] = ()
        self.taken: list[Taken] = []
        self.repeated: list[str] = []
        self.compared = 0

    def __enter__(self) -> Self:
        self._running = [self._pool.submit(self._run) for _ in range(CALLERS)]
        return self

    def __exit__(self, *_: object) -> None:
        """Also where the test fails: that a caller did is the likely reason."""
        self.stop()

    def stop(self) -> None:
        """What has gone wrong with any of them is raised here."""
        self._stopping.set()
        self._pool.shutdown()
        for each in self._running:
            each.result()

    def register(self, session: requests.Session, body: dict[str, Any], *, events: int = 1) -> None:
        """With the same key at each API that is open: all must answer as the first did."""
        key = uuid4().hex
        first, *others = [self._ask(session, api, key, body) for api in random.sample(self.apis, len(self.apis))]
        self._compare(first, others)
        self.taken.append(Taken(key, body, first, events))

    def repeat_all(self) -> None:
        """All that was ever taken, wherever an API is open now."""
        with requests.Session() as session:
            for taken in list(self.taken):
                self._compare(taken.answer, [self._ask(session, api, taken.key, taken.body) for api in self.apis])

    def _run(self) -> None:
        with requests.Session() as session:
            while not self._stopping.wait(PAUSE_S):
                self.register(session, self._wanted())

    def _compare(self, first: dict[str, Any], others: list[dict[str, Any]]) -> None:
        assert others == [first] * len(others)
        self.compared += len(others)

    def _ask(self, session: requests.Session, api: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer of that API; once that has failed, of any that is open."""
        headers = {"Authorization": self._authorization, "Idempotency-Key": key}
        apis = [api]

        def answered() -> dict[str, Any] | None:
            try:
                answer = session.post(f"{apis.pop()}/v1/registrations", json=body, headers=headers, timeout=PATIENCE_S)
            except CUT_OFF as error:
                why = type(error).__name__
            else:
                if answer.status_code == 201:
                    taken: dict[str, Any] = answer.json()
                    return taken
                assert answer.status_code in TO_BE_REPEATED, answer.text
                why = str(answer.status_code)
            self.repeated.append(why)
            apis.append(random.choice(self.apis))
            return None

        return wait_until(answered, timeout=PATIENCE_S, what="an answer to a registration")
