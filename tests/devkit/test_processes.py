"""Child processes. They are real: small Python and shell programs."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from app.devkit.processes import Process, start, wait_until


def python(program: str, env: dict[str, str] | None = None) -> Process:
    return start([sys.executable, "-u", "-c", program], env)


def test_a_condition_that_comes_true_gives_its_value() -> None:
    values = iter([None, 0, "ready"])
    assert wait_until(lambda: next(values), what="ready") == "ready"


def test_a_condition_that_never_comes_true_is_named() -> None:
    with pytest.raises(TimeoutError, match=r"the moon: not within 0\.05 s"):
        wait_until(lambda: False, timeout=0.05, what="the moon")


def test_a_child_is_known_by_its_first_line_and_the_rest_is_kept() -> None:
    with python("print('{\"url\": 1}'); print('more')") as child:
        assert child.announcement() == {"url": 1}
        assert wait_until(lambda: child.exit_code is not None, what="its end")
    assert child.lines == ['{"url": 1}', "more"]


def test_a_child_sees_our_environment_and_what_we_add(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import json, os; print(json.dumps({name: os.environ[name] for name in ('OURS', 'ADDED')}))"
    monkeypatch.setenv("OURS", "inherited")
    with python(program, {"ADDED": "too"}) as child:
        assert child.announcement() == {"OURS": "inherited", "ADDED": "too"}


def test_a_child_sees_only_those_settings_of_the_bridge_that_we_add(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import json, os; print(json.dumps([name for name in os.environ if name.startswith('BRIDGE_')]))"
    monkeypatch.setenv("BRIDGE_LEASE_S", "soon")
    with python(program, {"BRIDGE_LINK": ""}) as child:
        wait_until(lambda: child.lines, what="what it sees")
    assert child.lines == ['["BRIDGE_LINK"]']


def test_a_child_that_ends_silently_is_reported_with_its_exit_code() -> None:
    with python("raise SystemExit(3)") as child, pytest.raises(ChildProcessError, match="ended with 3"):
        child.announcement()


def test_a_child_that_only_waits_is_not_waited_for_longer_than_the_timeout() -> None:
    with python("import time; time.sleep(60)") as child, pytest.raises(TimeoutError, match="a line from"):
        child.announcement(timeout=0.05)


def test_a_child_that_prints_much_is_never_blocked_by_us() -> None:
    with python("print('{}'); print('x' * 1_000_000)") as child:
        wait_until(lambda: child.exit_code == 0, what="its end")


def test_a_stopped_child_may_finish_first() -> None:
    program = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print('{}'); time.sleep(60)"
    child = python(program)
    child.announcement()
    assert child.stop() == 7


def test_a_child_that_ignores_sigterm_is_killed() -> None:
    child = python("import signal, time; signal.signal(15, signal.SIG_IGN); print('{}'); time.sleep(60)")
    child.announcement()
    assert child.stop(timeout=0.1) == -signal.SIGKILL


def test_a_killed_child_takes_its_own_children_with_it() -> None:
    program = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid); time.sleep(60)"
    child = python(program)
    grandchild = child.announcement()
    assert isinstance(grandchild, int)
    assert child.kill() == -signal.SIGKILL
    wait_until(lambda: _gone(grandchild), what="the grandchild's end")


def test_a_child_that_left_the_group_with_our_pipe_does_not_hold_us_up() -> None:
    program = "import subprocess; print(subprocess.Popen(['sleep', '60'], start_new_session=True).pid)"
    child = python(program)
    stray = child.announcement()
    assert isinstance(stray, int)
    begun = time.monotonic()
    child.stop()
    assert time.monotonic() - begun < 5
    os.kill(stray, signal.SIGKILL)


def test_a_log_takes_what_a_child_says_on_stderr(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with start([sys.executable, "-c", "import sys; sys.stderr.write('trouble')"], log=log) as child:
        wait_until(lambda: child.exit_code == 0, what="its end")
    assert log.read_text(encoding="utf-8") == "trouble"
    assert child.lines == []


def _gone(pid: int) -> bool:
    """Whether a process has ended; zombies count as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split()[2] == "Z"
    except FileNotFoundError:
        return True
