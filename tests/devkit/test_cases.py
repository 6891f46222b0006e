"""The demo's own judgement: it must not praise what is wrong."""

import json
from typing import Any

import pytest

from app.devkit.cases import EXAMPLE, Mismatch, judge, new_cases

CASES = new_cases()


def callbacks() -> list[dict[str, Any]]:
    """As they are to come."""
    jobs = [{**EXAMPLE, "job_id": case.job_id} for case in CASES]
    events = [{"type": case.ends_as, "data": {"job": job}} for case, job in zip(CASES, jobs, strict=True)]
    return [{"body": json.dumps(event), "verified": True} for event in events]


def test_what_was_to_come_is_accepted() -> None:
    judge(CASES, callbacks())


def test_a_callback_that_is_missing_or_repeated_is_a_mismatch() -> None:
    with pytest.raises(Mismatch, match="other callbacks"):
        judge(CASES, callbacks()[1:])
    with pytest.raises(Mismatch, match="other callbacks"):
        judge(CASES, callbacks() + callbacks()[:1])


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
