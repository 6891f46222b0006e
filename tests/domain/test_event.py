"""The type of an event, by its subject."""

from datetime import UTC, datetime

import pytest

from app.domain.event import DestinationChange, Event, EventType, Group, OwnEventType, event_type
from app.domain.job import Job, JobState

NOW = datetime(2026, 1, 2, tzinfo=UTC)
CHANGE = DestinationChange(OwnEventType.DESTINATION_REOPENED, "t", "https://bot.example:443", NOW, failures=1, held=0)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("failed", EventType.JOB_FAILED),
        ("finished", EventType.GROUP_FINISHED),
        ("test", OwnEventType.CALLBACK_TEST),
        ("destination.disabled", OwnEventType.DESTINATION_DISABLED),
    ],
)
def test_how_something_ended_tells_the_type(end: str, expected: EventType | OwnEventType) -> None:
    assert event_type(end) is expected


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        (Job("j", JobState.LOST), EventType.JOB_LOST),
        (Group({}, (), truncated=False), EventType.GROUP_FINISHED),
        (CHANGE, OwnEventType.DESTINATION_REOPENED),
        (None, OwnEventType.CALLBACK_TEST),
    ],
)
def test_what_an_event_is_about_tells_its_type(about: Job | Group | DestinationChange | None, expected: str) -> None:
    assert Event("evt_1", "reg_1", "default", about, NOW, {}).type is expected
