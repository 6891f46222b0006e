"""The demo's own checks: they must find every wrong callback."""

import json
from typing import Any

import pytest

from app.devkit.scenarios import EXAMPLE, RESTARTED, Mismatch, check_callbacks, new_scenarios

SCENARIOS = new_scenarios()


def callbacks() -> list[dict[str, Any]]:
    """The callbacks that the demo expects."""
    return [
        {
            "path": f"/{scenario.name}",
            "body": json.dumps(
                {"type": scenario.ends_as, "data": {"group": RESTARTED} if scenario.phones else {"job": job}}
            ),
            "verified": True,
        }
        for scenario in SCENARIOS
        for job in [{**EXAMPLE, "job_id": scenario.job_id}]
    ]


def test_what_was_to_come_is_accepted() -> None:
    check_callbacks(SCENARIOS, callbacks())


def test_a_callback_that_is_missing_or_repeated_is_a_mismatch() -> None:
    with pytest.raises(Mismatch, match="other callbacks"):
        check_callbacks(SCENARIOS, callbacks()[1:])
    with pytest.raises(Mismatch, match="other callbacks"):
        check_callbacks(SCENARIOS, callbacks() + callbacks()[:1])


def test_a_callback_about_another_job_is_a_mismatch() -> None:
    received = callbacks()
    received[1]["body"] = received[1]["body"].replace(SCENARIOS[1].job_id, "another")
    with pytest.raises(Mismatch, match="another job"):
        check_callbacks(SCENARIOS, received)
    received = callbacks()
    received[4]["body"] = received[4]["body"].replace('"failed": 1', '"failed": 0')
    with pytest.raises(Mismatch, match="restart"):
        check_callbacks(SCENARIOS, received)


def test_a_wrong_signature_is_a_mismatch() -> None:
    received = callbacks()
    received[2]["verified"] = False
    with pytest.raises(Mismatch, match="signature"):
        check_callbacks(SCENARIOS, received)


def test_an_example_that_is_not_the_documented_one_is_a_mismatch() -> None:
    received = callbacks()
    received[0]["body"] = received[0]["body"].replace("07:00:06Z", "07:00:07Z")
    with pytest.raises(Mismatch, match="documentation"):
        check_callbacks(SCENARIOS, received)
