"""The remedy that a budget suggests when polls are late."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.budget import Budget

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SHORT = Budget(rate=10, learned_rate=None, calls_left=0, paused_until=None, late=timedelta(seconds=30))


@pytest.mark.parametrize(
    ("budget", "remedy"),
    [
        (SHORT, "polls are 30 s late: raise BRIDGE_CPH_RATE"),
        (replace(SHORT, learned_rate=10), "polls are 30 s late because CPH throttles"),
        (replace(SHORT, calls_left=10), "polls are 30 s late although calls are left"),
        (replace(SHORT, late=timedelta(seconds=4)), None),
        (replace(SHORT, paused_until=NOW), None),
    ],
)
def test_an_operator_is_advised_what_to_do_about_polls_that_are_late(budget: Budget, remedy: str | None) -> None:
    advice = budget.remedy()
    assert (advice or "").startswith(remedy or "")
    assert (advice is None) == (remedy is None)
