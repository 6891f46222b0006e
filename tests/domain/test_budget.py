"""What a budget that is short costs, and what to do about it."""

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
        (replace(SHORT, learned_rate=10), "polls are 30 s late as CPH throttles"),
        (replace(SHORT, calls_left=10), "polls are 30 s late although calls are left"),
        (replace(SHORT, late=timedelta(seconds=4)), None),
        (replace(SHORT, paused_until=NOW), None),
    ],
)
def test_an_operator_is_told_what_to_do_about_polls_that_are_late(budget: Budget, remedy: str | None) -> None:
    told = budget.remedy()
    assert (told or "").startswith(remedy or "")
    assert (told is None) == (remedy is None)
