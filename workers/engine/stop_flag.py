"""The order to stop, which a signal brings."""

from time import monotonic, sleep

SLICE_S = 0.05  # how late a waiter may hear of it


class StopFlag:
    """Like threading.Event, without its lock: a signal's handler runs in the middle of what its thread was at, which
    may have been to take this very lock, and would wait for itself.
    """

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Whether it is set, at the latest after so long."""
        until = monotonic() + seconds
        while not self._is_set and (left := until - monotonic()) > 0:
            sleep(min(left, SLICE_S))
        return self._is_set
