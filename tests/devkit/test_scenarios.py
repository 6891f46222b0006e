"""The demo's own judgement: it must not praise what is wrong."""

import json
from typing import Any

import pytest

from app.devkit.scenarios import EXAMPLE, RESTARTED, Mismatch, judge, new_cases

CASES = new_cases()


def callbacks() -> list[dict[str, Any]]:
    """As they are to come."""
    return [
        {
            "path": f"/{case.name}",
            "body": json.dumps({"type": case.ends_as, "data": {"group": RESTARTED} if case.phones else {"job": job}}),
            "verified": True,
        }
        for case in CASES
        for job in [{**EXAMPLE, "job_id": case.job_id}]
    ]


def test_what_was_to_come_is_accepted() -> None:
    judge(CASES, callbacks())


def test_a_callback_that_is_missing_or_repeated_is_a_mismatch() -> None:
    with pytest.raises(Mismatch, match="other callbacks"):
        judge(CASES, callbacks()[1:])
    with pytest.raises(Mismatch, match="other callbacks"):
        judge(CASES, callbacks() + callbacks()[:1])


def test_a_callback_about_another_job_is_a_mismatch() -> None:
    came = callbacks()
    came[1]["body"] = came[1]["body"].replace(CASES[1].job_id, "another")
    with pytest.raises(Mismatch, match="another job"):
        judge(CASES, came)
    came = callbacks()
    came[4]["body"] = came[4]["body"].replace('"failed": 1', '"failed": 0')
    with pytest.raises(Mismatch, match="restart"):
        judge(CASES, came)


def test_a_wrong_signature_is_a_mismatch() -> None:
    came = callbacks()
    came[2]["verified"] = False
    with pytest.raises(Mismatch, match="signature"):
        judge(CASES, came)


def test_an_example_that_is_not_the_documented_one_is_a_mismatch() -> None:
    came = callbacks()
    came[0]["body"] = came[0]["body"].replace("07:00:06Z", "07:00:07Z")
    with pytest.raises(Mismatch, match="documentation"):
        judge(CASES, came)
