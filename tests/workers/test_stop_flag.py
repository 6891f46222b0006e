"""StopFlag: set by signal handlers, waited for by loops."""

import subprocess
import sys
from threading import Timer
from time import monotonic

from workers.engine.stop_flag import StopFlag

# Delivers a signal at every point of wait(). With threading.Event in place of StopFlag this hangs.
SIGNALS_DURING_WAIT = """
import signal
from workers.engine.stop_flag import StopFlag

signal.signal(signal.SIGALRM, lambda *_: stopping.set())
for microseconds in range(1, 1_500):
    stopping = StopFlag()
    signal.setitimer(signal.ITIMER_REAL, microseconds % 300 * 1e-6 + 1e-6)
    while not stopping.wait(0.0001):
        pass
"""


def test_a_signal_never_meets_a_lock_of_its_own_thread() -> None:
    subprocess.run([sys.executable, "-c", SIGNALS_DURING_WAIT], check=True, timeout=30)


def test_who_waits_hears_of_it() -> None:
    stopping = StopFlag()
    Timer(0.1, stopping.set).start()
    assert stopping.wait(30)
    assert stopping.is_set()


def test_nobody_waits_for_longer_than_asked() -> None:
    began = monotonic()
    assert not StopFlag().wait(0.12)
    assert 0.12 <= monotonic() - began < 10
