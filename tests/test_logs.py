"""Log lines as our JSON formatter writes them."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from app import logs


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
