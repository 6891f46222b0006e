"""The expiry of tokens and keys, in the spellings that issuers use."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.times import read_expiry


@pytest.mark.parametrize(
    "written",
    ["2026-11-29T00:00:00.000000Z", "2026-11-29T00:00:00", "2026-11-29T01:00:00+01:00", 1795910400, "1795910400000"],
)
def test_an_expiry_is_read_in_each_spelling(written: Any) -> None:
    assert read_expiry(written) == datetime(2026, 11, 29, tzinfo=UTC)


@pytest.mark.parametrize("written", [None, "", "soon", 5, True, [], 10**40])
def test_what_is_no_moment_is_no_expiry(written: Any) -> None:
    assert read_expiry(written) is None
