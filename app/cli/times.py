"""Parses durations and times given as options; formats durations."""

import re
from datetime import UTC, datetime, timedelta

import click

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])")


def now() -> datetime:
    """Returns this machine's time, in UTC; a client cannot read the bridge's clock, which is Redis'."""
    return datetime.now(UTC)  # noqa: TID251 a client has no runtime


def parse_duration(text: str) -> timedelta | None:
    match = DURATION.fullmatch(text)
    return timedelta(**{UNITS[match[2]]: int(match[1])}) if match else None


class Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        duration = parse_duration(value)
        if duration is None:
            self.fail(f"{value} is not a duration such as 30d, 12h, 45m or 90s", param, ctx)
        return duration


class Moment(click.ParamType[datetime]):
    """A duration before now, or an ISO 8601 time, in UTC unless it has an offset. The result is in UTC."""

    name = "moment"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        ago = parse_duration(value)
        try:
            moment = datetime.fromisoformat(value) if ago is None else now() - ago
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except ValueError:
            self.fail(
                f"{value} is neither a time such as 2026-04-26T07:00:00Z nor a duration before now such as 2h",
                param,
                ctx,
            )
        except OverflowError:
            self.fail(f"{value} is not within the years 1 to 9999", param, ctx)


def format_duration(duration: timedelta) -> str:
    """Returns `7s`, `1:02` or `26:00:05`."""
    seconds = int(duration.total_seconds())
    minutes, hours = seconds // 60, seconds // 3600
    if hours:
        return f"{hours}:{minutes % 60:02}:{seconds % 60:02}"
    return f"{minutes}:{seconds % 60:02}" if minutes else f"{seconds}s"
