"""The state of a project, and the remedy for its failures."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.project_health import ProjectHealth, ProjectState

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("health", "state"),
    [
        (ProjectHealth(), ProjectState.WAITING),
        (ProjectHealth(answered_at=NOW), ProjectState.OK),
        (ProjectHealth(failed_at=NOW, failure="busy"), ProjectState.WAITING),
        (ProjectHealth(failed_at=NOW, failure="no", refused_since=NOW), ProjectState.REFUSED),
        (ProjectHealth(answered_at=NOW, failed_at=NOW - SECOND), ProjectState.OK),
        (ProjectHealth(answered_at=NOW - SECOND, failed_at=NOW), ProjectState.WAITING),
        (ProjectHealth(answered_at=NOW, failed_at=NOW - SECOND, refused_since=NOW - SECOND), ProjectState.REFUSED),
    ],
)
def test_the_latest_says_how_a_project_fares(health: ProjectHealth, state: ProjectState) -> None:
    assert health.state is state


UNREADABLE = ProjectHealth(
    answered_at=NOW, unreadable_at=NOW - SECOND, unreadable="HTTP 200, 3 bytes: it is a web page"
)


@pytest.mark.parametrize(
    ("health", "remedy"),
    [
        (ProjectHealth(answered_at=NOW, credentials_expire_at=NOW + timedelta(hours=1)), None),
        (ProjectHealth(failed_at=NOW, failure="busy"), None),
        (ProjectHealth(failed_at=NOW, refused_since=NOW), "check the credentials"),
        (ProjectHealth(failed_at=NOW, refused_since=NOW, clock_ahead=-90 * SECOND), "run NTP"),
        (ProjectHealth(answered_at=NOW, clock_ahead=2 * SECOND), None),
        (ProjectHealth(answered_at=NOW, credentials_expire_at=NOW + SECOND), "find out why the credentials"),
        (UNREADABLE, "CPH's answers cannot be read (HTTP 200, 3 bytes: it is a web page): check the endpoint"),
        (replace(UNREADABLE, unreadable_at=NOW - timedelta(hours=1)), None),
        (replace(UNREADABLE, refused_since=NOW), "check the credentials"),
    ],
)
def test_an_operator_is_advised_what_to_do(health: ProjectHealth, remedy: str | None) -> None:
    advice = health.remedy(NOW)
    assert (advice or "").startswith(remedy or "")
    assert (advice is None) == (remedy is None)
