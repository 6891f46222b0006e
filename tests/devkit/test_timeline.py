"""The timeline: which entries get a line, and how it reads."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.devkit.bridge import StubProcess
from app.devkit.processes import start
from app.devkit.timeline import Timeline, TimelineLine, describe
from app.formats import standard
from app.formats.samples import SAMPLES

NAMES = {"j1": "example", "reg_1": "example"}
GROUP = json.dumps({"type": "group.finished", "data": {"registration_id": "reg_1", "group": {"total": 2}}})
TEST, CHANGE = (standard.render(event).decode() for event in SAMPLES[8:10])
BODY = json.dumps({"type": "job.lost", "data": {"job": {"job_id": "j1"}}})


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"event": "job.ended", "job_id": "j1", "state": "failed"}, ("ended", "example", "failed")),
        ({"event": "job.ended", "job_id": "j2", "state": "failed"}, ("ended", "j2", "failed")),
        ({"event": "job.lost", "level": "warning", "job_id": "j1"}, ("ended", "example", "lost: CPH does not know it")),
        (
            {"event": "callback.received", "body": BODY, "verified": True},
            ("received", "example", "job.lost, signature verified"),
        ),
        (
            {"event": "callback.received", "body": BODY, "verified": False},
            ("received", "example", "job.lost, signature NOT verified: wrong secret or unsigned"),
        ),
        (
            {"event": "callback.received", "body": GROUP, "verified": True},
            ("received", "example", "group.finished, signature verified"),
        ),
        (
            {"event": "callback.received", "body": TEST, "verified": True},
            ("received", "a test", "callback.test, signature verified"),
        ),
        (
            {"event": "callback.received", "body": CHANGE, "verified": True},
            ("received", "https://bot.example:443", "destination.disabled, signature verified"),
        ),
        (
            {"event": "callback.received", "body": '{"type": 1, "data": []}', "path": "/x", "verified": True},
            ("received", "/x", "not an event, signature verified"),
        ),
        (
            {"event": "callback.received", "body": "hello", "path": "/x", "verified": False},
            ("received", "/x", "not an event, signature NOT verified: wrong secret or unsigned"),
        ),
        (
            {"event": "cph.unanswered", "level": "warning", "reason": "401"},
            ("warning", "", "cph.unanswered reason=401"),
        ),
    ],
)
def test_an_entry_is_shown_in_one_line(entry: dict[str, Any], line: tuple[str, str, str]) -> None:
    assert describe(entry, NAMES) == TimelineLine(*line)


def test_an_attempt_is_shown_by_its_outcome() -> None:
    attempt = {"event": "delivery.attempted", "registration_id": "reg_1", "number": 2}
    good = {**attempt, "state": "delivered", "status_code": 204, "error": None}
    bad = {**attempt, "state": "pending", "status_code": None, "error": "timeout"}
    assert describe(good, NAMES) == TimelineLine("delivered", "example", "attempt 2: answered 204")
    assert describe(bad, NAMES) == TimelineLine("attempted", "example", "attempt 2: timeout")
    own = {**good, "registration_id": None}
    assert describe(own, NAMES) == TimelineLine("delivered", "to the operator", "attempt 2: answered 204")


def test_what_is_ordinary_is_not_shown() -> None:
    assert describe({"event": "worker.started", "level": "info"}, NAMES) is None
    assert describe({"event": "log", "message": "from somewhere else"}, NAMES) is None


def test_a_callback_is_shown_before_its_answer_even_if_the_inbox_has_not_been_read(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    inbox = serve("inbox")
    inbox.call("POST", "/", data=BODY)
    # The thread that reads its lines has not read this one yet.
    with start([sys.executable, "-c", "print('{}')"]) as process:
        timeline = Timeline(tmp_path, StubProcess(process, inbox.about))
        assert timeline.new() == []
        line = {"time": "2099-01-01T00:00:00.000Z", "event": "delivery.attempted"}
        (tmp_path / "worker-deliver.log").write_text(json.dumps(line) + "\n", encoding="utf-8")
        assert [each["event"] for each in timeline.new()] == ["callback.received", "delivery.attempted"]
        assert timeline.new() == []
