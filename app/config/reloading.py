"""Settings that change while a process runs: read anew now and then, kept while they cannot be read."""

import logging
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import TypeVar

from app import logs
from app.domain.errors import OperatorError

Value = TypeVar("Value")

# Kubernetes itself takes up to a minute to change a mounted file.
READ_EVERY_S = 5.0


class ReloadableMapping(Mapping[str, Value]):
    """For use by many threads. It is read when it is first used, and OperatorError is raised only then.

    name: for the log. monotonic: seconds.
    """

    def __init__(self, name: str, read: Callable[[], Mapping[str, Value]], monotonic: Callable[[], float]) -> None:
        self._name = name
        self._read = read
        self._monotonic = monotonic
        self._reading = Lock()
        self._last: Mapping[str, Value] | None = None
        self._read_at = 0.0
        self._failure = ""

    def __getitem__(self, name: str) -> Value:
        return self.current()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.current())

    def __len__(self) -> int:
        return len(self.current())

    def reload(self) -> None:
        """At the next use. It takes no lock: a signal handler may call it."""
        self._read_at = float("-inf")

    def current(self) -> Mapping[str, Value]:
        """As it was read last: the very same while nothing was read anew."""
        last = self._last
        if last is not None and self._monotonic() < self._read_at:
            return last
        with self._reading:
            if self._last is None or self._monotonic() >= self._read_at:
                self._read_at = self._monotonic() + READ_EVERY_S
                self._last = self._read() if self._last is None else self._read_or_keep(self._last)
            return self._last

    def _read_or_keep(self, last: Mapping[str, Value]) -> Mapping[str, Value]:
        try:
            new = self._read()
        except OperatorError as error:
            if str(error) != self._failure:
                self._failure = str(error)
                logs.event(f"{self._name}.not_reloaded", level=logging.ERROR, reason=self._failure)
            return last
        if self._failure or new != last:
            logs.event(f"{self._name}.reloaded", names=sorted(new))
        self._failure = ""
        return new
