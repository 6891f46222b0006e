"""Durations and moments as people type them."""

from datetime import UTC, datetime, timedelta

import click
import pytest

from app.cli.times import Duration, Moment, format_duration, now
from tests.cli.test_cli import run


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90s", timedelta(seconds=90)),
        ("45m", timedelta(minutes=45)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(7)),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, duration: timedelta) -> None:
    assert Duration().convert(text, None, None) == duration
    begun, ago = now(), Moment().convert(text, None, None)
    assert begun - duration <= ago <= now() - duration


@pytest.mark.parametrize("text", ["", "0s", "-1h", "1.5h", "1 h", "1w", "h", "1h30m", "1H", "９s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a duration such as"):
        Duration().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-04-26T07:00:00Z", datetime(2026, 4, 26, 7, tzinfo=UTC)),
        ("2026-04-26T09:00:00+02:00", datetime(2026, 4, 26, 7, tzinfo=UTC)),
        ("2026-04-26T07:00", datetime(2026, 4, 26, 7, tzinfo=UTC)),
        ("2026-04-26", datetime(2026, 4, 26, tzinfo=UTC)),
    ],
)
def test_a_moment_is_in_utc_unless_it_says_otherwise(text: str, moment: datetime) -> None:
    assert Moment().convert(text, None, None) == moment


@pytest.mark.parametrize("text", ["yesterday", "", "26.4.2026", "12:00"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is neither a time"):
        Moment().convert(text, None, None)


@pytest.mark.parametrize("option", ["--since", "--until"])
@pytest.mark.parametrize("text", ["800000d", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_what_no_calendar_holds_is_refused_by_the_name_of_its_option(option: str, text: str) -> None:
    for command in ("list", "redeliver"):
        refused = run({"BRIDGE_KEY": "k"}, "deliveries", command, option, text)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert f"Invalid value for '{option}': {text} is not within the years 1 to 9999" in refused.stderr


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0s"), (59.9, "59s"), (62, "1:02"), (3_599, "59:59"), (93_605, "26:00:05")]
)
def test_ages_are_written_briefly(seconds: float, shown: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == shown
