"""Settings that change while a process runs: re-read every few seconds; on an error the last good value stays."""

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
    """A thread-safe mapping that is re-read. Raises OperatorError until it has been read once; later an error is logged
    and the last good value stays.

    name: prefix of the log events. monotonic: returns seconds.
    """

    def __init__(self, name: str, read: Callable[[], Mapping[str, Value]], monotonic: Callable[[], float]) -> None:
        self._name = name
        self._read = read
        self._monotonic = monotonic
        self._lock = Lock()
        self._last: Mapping[str, Value] | None = None
        self._next_read_at = 0.0
        self._last_error = ""

    def __getitem__(self, name: str) -> Value:
        return self.current()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.current())

    def __len__(self) -> int:
        return len(self.current())

    def reload(self) -> None:
        """Has the next use re-read. It takes no lock: a signal handler may call it."""
        self._next_read_at = float("-inf")

    def current(self) -> Mapping[str, Value]:
        """Returns the mapping last read: the same object until it is re-read."""
        last = self._last
        if last is not None and self._monotonic() < self._next_read_at:
            return last
        with self._lock:
            if self._last is None or self._monotonic() >= self._next_read_at:
                self._next_read_at = self._monotonic() + READ_EVERY_S
                self._last = self._read() if self._last is None else self._read_or_keep(self._last)
            return self._last

    def _read_or_keep(self, last: Mapping[str, Value]) -> Mapping[str, Value]:
        try:
            new = self._read()
        except OperatorError as error:
            if str(error) != self._last_error:
                self._last_error = str(error)
                logs.event(f"{self._name}.not_reloaded", level=logging.ERROR, reason=self._last_error)
            return last
        if self._last_error or new != last:
            logs.event(f"{self._name}.reloaded", names=sorted(new))
        self._last_error = ""
        return new
