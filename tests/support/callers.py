"""Clients that register one job after another while APIs start and stop, and retry as the API contract says."""

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
RETRYABLE = {409, 503}  # the first request is still in progress; unavailable
CONNECTION_ERRORS = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)


@dataclass(frozen=True, slots=True)
class AcknowledgedRegistration:
    """answer: the first one. events: the number of events that the registration causes in total."""

    key: str
    body: dict[str, Any]
    answer: dict[str, Any]
    events: int

    @property
    def id(self) -> str:
        id: str = self.answer["id"]
        return id


class Callers:
    """While entered, each caller repeatedly sends the body that `new_body` returns to all `apis`.

    repeated: the reason of each retry. compared: the number of answers that were equal to the first one, as required.
    """

    def __init__(self, api_key: str, new_body: Callable[[], dict[str, Any]]) -> None:
        self._authorization = f"Bearer {api_key}"
        self._new_body = new_body
        self._stopping = Event()
        self._pool = ThreadPoolExecutor(CALLERS)
        self._running: list[Future[None]] = []
        self.apis: tuple[str, ...] = ()
        self.acknowledged: list[AcknowledgedRegistration] = []
        self.repeated: list[str] = []
        self.compared = 0

    def __enter__(self) -> Self:
        self._running = [self._pool.submit(self._run) for _ in range(CALLERS)]
        return self

    def __exit__(self, *_: object) -> None:
        """Raises the error of a caller, also if the test has failed: it is the likely reason."""
        self.stop()

    def stop(self) -> None:
        """Raises the first error of a caller."""
        self._stopping.set()
        self._pool.shutdown()
        for each in self._running:
            each.result()

    def register(self, session: requests.Session, body: dict[str, Any], *, events: int = 1) -> None:
        """Sends the same Idempotency-Key to each API. All must answer as the first did."""
        key = uuid4().hex
        first, *others = [self._post(session, api, key, body) for api in random.sample(self.apis, len(self.apis))]
        self._compare(first, others)
        self.acknowledged.append(AcknowledgedRegistration(key, body, first, events))

    def repeat_all(self) -> None:
        """Repeats all acknowledged requests at each API."""
        with requests.Session() as session:
            for registration in list(self.acknowledged):
                answers = [self._post(session, api, registration.key, registration.body) for api in self.apis]
                self._compare(registration.answer, answers)

    def _run(self) -> None:
        with requests.Session() as session:
            while not self._stopping.wait(PAUSE_S):
                self.register(session, self._new_body())

    def _compare(self, first: dict[str, Any], others: list[dict[str, Any]]) -> None:
        assert others == [first] * len(others)
        self.compared += len(others)

    def _post(self, session: requests.Session, api: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer of this API, or of a random one once a request has failed."""
        headers = {"Authorization": self._authorization, "Idempotency-Key": key}
        apis = [api]

        def acknowledged() -> dict[str, Any] | None:
            try:
                answer = session.post(f"{apis.pop()}/v1/registrations", json=body, headers=headers, timeout=PATIENCE_S)
            except CONNECTION_ERRORS as error:
                reason = type(error).__name__
            else:
                if answer.status_code == 201:
                    registration: dict[str, Any] = answer.json()
                    return registration
                assert answer.status_code in RETRYABLE, answer.text
                reason = str(answer.status_code)
            self.repeated.append(reason)
            apis.append(random.choice(self.apis))
            return None

        return wait_until(acknowledged, timeout=PATIENCE_S, what="an answer to a registration")
