"""Log lines as our JSON formatter writes them."""

import fcntl
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from app import logs
from app.devkit.processes import start, wait_until

PIPE_BYTES = 4096


@pytest.fixture
def read_line(caplog: pytest.LogCaptureFixture) -> Callable[[], dict[str, Any]]:
    """read_line() parses the only line that was logged."""
    caplog.handler.setFormatter(logs.JsonLines())
    caplog.set_level("INFO", logs.bridge.name)

    def read() -> dict[str, Any]:
        (written,) = caplog.text.splitlines()
        parsed: dict[str, Any] = json.loads(written)
        return parsed

    return read


def test_an_event_is_one_line_of_json(read_line) -> None:
    logs.event("job.ended", job_id='j\n"1"', number=1)
    written = read_line()
    assert (written["event"], written["level"]) == ("job.ended", "info")
    assert (written["job_id"], written["number"]) == ('j\n"1"', 1)


def test_what_libraries_say_is_one_line_of_json(read_line) -> None:
    logging.getLogger("rq.worker").warning("two\nlines %s", 7)
    written = read_line()
    assert (written["event"], written["logger"], written["message"]) == ("log", "rq.worker", "two\nlines 7")


def test_an_exception_is_in_its_line(read_line) -> None:
    try:
        {}["a mistake"]
    except KeyError:
        logs.event("work.failed", level=logging.ERROR, exc_info=True)
    assert "KeyError" in read_line()["exception"]


def test_no_content_ends_a_line_or_moves_a_cursor() -> None:
    record = logging.LogRecord("bridge", logging.INFO, "", 0, "audit", (), None)
    nasty = 'a\nb\r\x1b[2J\x00\x7f\x85\x9b\u2028\u2029"} {"event":"audit"}'
    record.fields = {"id": nasty}
    line = logs.JsonLines().format(record)
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert json.loads(line)["id"] == nasty


# Programs that log to a pipe which nobody reads at first.
FLOOD = """
import os, sys
from app import logs
logs.configure("INFO")
counted = []
logs.on_drop(lambda: counted.append(1))
for number in range(logs.LONGEST_QUEUE + 1_000):
    logs.event("number", number=number)
print(len(counted), flush=True)
sys.stdin.read()
"""
FORK = """
import os
from app import logs
logs.configure("INFO")
logs.event("parent.first")
if os.fork() == 0:
    logs.event("child")
    raise SystemExit
os.wait()
logs.event("parent.last")
"""
FAILS = """
import threading, warnings
from app import logs
logs.configure("INFO")
warnings.warn("odd", stacklevel=1)
thread = threading.Thread(target=lambda: {}["in a thread"])
thread.start()
thread.join()
{}["in the main thread"]
"""


def run(program: str, **options: Any) -> list[dict[str, Any]]:
    """Runs a Python program that logs. Returns its lines."""
    done = subprocess.run(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, encoding="utf-8", timeout=60, check=False, **options
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


@contextmanager
def unread_pipe(folder: Path) -> Iterator[tuple[Path, int]]:
    """A pipe with room for a few lines: its path, and a descriptor to read it."""
    path = folder / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDWR)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield path, reader
    os.close(reader)


def test_logging_blocks_nobody_and_says_how_many_lines_it_dropped_once_it_is_read_again(tmp_path: Path) -> None:
    with unread_pipe(tmp_path) as (pipe, reader), start([sys.executable, "-c", FLOOD], log=pipe) as process:
        (dropped,) = wait_until(lambda: process.lines, what="the program has logged everything")
        written = b""
        while b"log.lines_dropped" not in written:
            written += os.read(reader, PIPE_BYTES)
    lines = [json.loads(line) for line in written.splitlines() if line.endswith(b"}")]
    numbers = [line["number"] for line in lines if line["event"] == "number"]
    assert numbers == list(range(len(numbers)))
    told = next(line for line in lines if line["event"] == "log.lines_dropped")
    assert told["count"] == int(dropped) > 900


def test_the_end_of_a_process_waits_for_its_last_lines_but_not_for_long(tmp_path: Path) -> None:
    ends = FLOOD.replace("sys.stdin.read()", "")
    lines = run(ends, stdout=subprocess.DEVNULL)
    assert lines[-1]["event"] == "log.lines_dropped" or lines[-1]["number"] >= logs.LONGEST_QUEUE
    with unread_pipe(tmp_path) as (pipe, _), start([sys.executable, "-c", ends], log=pipe) as process:
        wait_until(lambda: process.lines, what="the program has logged everything")
        began = monotonic()
        assert wait_until(lambda: process.exit_code is not None, what="its end")
        assert monotonic() - began < logs.END_S + 3
        assert process.exit_code == 0


def test_each_process_writes_its_own_lines_once_after_a_fork() -> None:
    assert sorted(line["event"] for line in run(FORK)) == ["child", "parent.first", "parent.last"]


def test_a_failure_that_nobody_catches_is_a_line_too() -> None:
    warned, in_thread, in_main = run(FAILS)
    assert "odd" in warned["message"]
    assert (in_thread["event"], in_main["event"]) == ("process.failed", "process.failed")
    assert "in a thread" in in_thread["exception"]
    assert "in the main thread" in in_main["exception"]
