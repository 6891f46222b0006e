"""Parsing `Retry-After`."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.retry_after import retry_after

NOW = datetime(2019, 4, 26, 7, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("120", timedelta(seconds=120)),
        (" 0 ", timedelta()),
        ("Fri, 26 Apr 2019 07:02:00 GMT", timedelta(minutes=2)),
        ("Fri, 26 Apr 2019 07:02:00 -0000", timedelta(minutes=2)),
        ("Fri, 26 Apr 2019 06:00:00 GMT", timedelta()),
        ("-5", None),
        ("-5.5", None),
        ("1.5", timedelta(seconds=2)),
        ("30.", timedelta(seconds=31)),
        ("30, 120", timedelta(minutes=2)),
        ("soon, 30", timedelta(seconds=30)),
        ("Fri, 26 Apr 2019 07:02:00 GMT, Fri, 26 Apr 2019 07:02:00 GMT", timedelta(minutes=2)),
        ("9" * 5000, None),
        ("Mon, 01 Jan 9999999999 00:00:00 GMT", None),
        ("Fri, 26 Apr 2019 07:02:00 +99999999999999999999", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_a_wait_is_seconds_or_a_date_or_makes_no_sense(value, wait):
    assert retry_after(value, NOW) == wait


def test_a_date_makes_no_sense_where_clocks_need_not_agree():
    assert retry_after("Fri, 26 Apr 2019 07:02:00 GMT") is None
    assert retry_after("120") == timedelta(minutes=2)


@given(st.binary())
def test_no_text_is_a_surprise_nor_a_wait_into_the_past(value):
    wait = retry_after(value.decode("latin-1"), NOW)
    assert wait is None or wait >= timedelta()
