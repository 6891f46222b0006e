"""What is worth a line, and how the line reads."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.devkit.bridge import StubProcess
from app.devkit.processes import start
from app.devkit.timeline import Timeline, TimelineLine, told
from app.formats import standard
from app.formats.samples import SAMPLES

NAMES = {"j1": "example", "reg_1": "example"}
GROUP = json.dumps({"type": "group.finished", "data": {"registration_id": "reg_1", "group": {"total": 2}}})
TEST, CHANGE = (standard.render(event).decode() for event in SAMPLES[8:10])
BODY = json.dumps({"type": "job.lost", "data": {"job": {"job_id": "j1"}}})


@pytest.mark.parametrize(
    ("happening", "line"),
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
            ("received", "example", "job.lost, signature NOT verified: by another secret, or none"),
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
            ("received", "/x", "no event, signature verified"),
        ),
        (
            {"event": "callback.received", "body": "hello", "path": "/x", "verified": False},
            ("received", "/x", "no event, signature NOT verified: by another secret, or none"),
        ),
        (
            {"event": "cph.unanswered", "level": "warning", "reason": "401"},
            ("warning", "", "cph.unanswered reason=401"),
        ),
    ],
)
def test_a_happening_is_told_in_one_line(happening: dict[str, Any], line: tuple[str, str, str]) -> None:
    assert told(happening, NAMES) == TimelineLine(*line)


def test_an_attempt_is_told_by_its_outcome() -> None:
    attempt = {"event": "delivery.attempted", "registration_id": "reg_1", "number": 2}
    good = {**attempt, "state": "delivered", "status_code": 204, "error": None}
    bad = {**attempt, "state": "pending", "status_code": None, "error": "timeout"}
    assert told(good, NAMES) == TimelineLine("delivered", "example", "attempt 2: answered 204")
    assert told(bad, NAMES) == TimelineLine("attempted", "example", "attempt 2: timeout")
    own = {**good, "registration_id": None}
    assert told(own, NAMES) == TimelineLine("delivered", "to the operator", "attempt 2: answered 204")


def test_what_is_ordinary_is_not_told() -> None:
    assert told({"event": "worker.started", "level": "info"}, NAMES) is None
    assert told({"event": "log", "message": "from somewhere else"}, NAMES) is None


def test_a_callback_is_shown_before_its_answer_even_if_the_inbox_has_not_been_heard(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    inbox = serve("inbox")
    inbox.call("POST", "/", data=BODY)
    # Its lines are read by a thread that has not come to it yet.
    with start([sys.executable, "-c", "print('{}')"]) as silent:
        happenings = Timeline(tmp_path, StubProcess(silent, inbox.about))
        assert happenings.new() == []
        line = {"time": "2099-01-01T00:00:00.000Z", "event": "delivery.attempted"}
        (tmp_path / "worker-deliver.log").write_text(json.dumps(line) + "\n", encoding="utf-8")
        assert [each["event"] for each in happenings.new()] == ["callback.received", "delivery.attempted"]
        assert happenings.new() == []
