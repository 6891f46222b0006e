"""The order to stop."""

import subprocess
import sys
from threading import Timer
from time import monotonic

from workers.engine.stop_flag import StopFlag

# A signal comes at each moment of what waiting does. With threading.Event it hangs.
RAINED_ON = """
import signal
from workers.engine.stop_flag import Stopping

signal.signal(signal.SIGALRM, lambda *_: stopping.set())
for microseconds in range(1, 1_500):
    stopping = Stopping()
    signal.setitimer(signal.ITIMER_REAL, microseconds % 300 * 1e-6 + 1e-6)
    while not stopping.wait(0.0001):
        pass
"""


def test_a_signal_never_meets_a_lock_of_its_own_thread() -> None:
    subprocess.run([sys.executable, "-c", RAINED_ON], check=True, timeout=30)


def test_who_waits_hears_of_it() -> None:
    stopping = StopFlag()
    Timer(0.1, stopping.set).start()
    assert stopping.wait(30)
    assert stopping.is_set()


def test_nobody_waits_for_longer_than_asked() -> None:
    began = monotonic()
    assert not StopFlag().wait(0.12)
    assert 0.12 <= monotonic() - began < 10
