"""A stop flag that a signal handler sets."""

from time import monotonic, sleep

SLICE_S = 0.05  # delay until a waiter notices


class StopFlag:
    """threading.Event without its lock: a signal handler interrupts its own thread, which may hold that lock, and
    would deadlock.
    """

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Returns whether the flag is set, after at most `seconds`."""
        until = monotonic() + seconds
        while not self._is_set and (left := until - monotonic()) > 0:
            sleep(min(left, SLICE_S))
        return self._is_set
