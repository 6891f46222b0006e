"""Progress of a registration's jobs, for `watch`: as lines, or as a table that a terminal redraws."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from app.cli.answers import Answer, error_of
from app.cli.output import PLACEHOLDER, printable
from app.cli.times import format_duration
from app.domain.foreign_json import exact_text, text
from app.domain.job import JobState

COLUMNS = ("job_id", "state", "age", "phone_id", "error")
CUT_COLUMNS = COLUMNS[3:]  # in a narrow terminal
STYLES = {"succeeded": "green", "failed": "bold red", "lost": "red", "overdue": "yellow", "running": "cyan"}
NON_JOB_LINES = 4  # header, summary, note and one spare
ENDED = frozenset(state.value for state in JobState if state.ended)
# Jobs that need attention first.
ORDER = ("failed", "lost", "overdue", "running", "pending", "succeeded")


@dataclass(frozen=True, slots=True)
class Row:
    """A job. state: a JobState, or one that only a newer API has. since, until: when it was first seen and when it
    ended, in seconds of the monotonic clock.
    """

    job_id: str | None
    state: str
    since: float
    until: float | None = None
    phone_id: str | None = None
    error: str | None = None

    def age(self, now: float) -> timedelta:
        return timedelta(seconds=(self.until or now) - self.since)

    def as_dict(self, now: float) -> dict[str, Any]:
        return {
            "job_id": self.job_id,
            "state": self.state,
            "age_s": round(self.age(now).total_seconds(), 1),
            "phone_id": self.phone_id,
            "error": self.error,
        }

    def cells(self, now: float) -> tuple[str, ...]:
        values = (self.job_id, self.state, format_duration(self.age(now)), self.phone_id, self.error)
        return tuple(map(printable, values))


class ProgressTable:
    """State of all jobs. monotonic: in seconds. note: the current problem. One thread updates it, another draws it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._started = monotonic()
        self._rows: dict[str | None, Row] = {}
        self.note = ""

    def update(self, jobs: Iterable[Answer], details: Mapping[str | None, Answer]) -> list[Row]:
        """Returns rows that are new or have changed. details: job fields from the events of ended jobs."""
        changed = []
        now = self._monotonic()
        for job in jobs:
            id, state = _identified(job)
            row = self._rows.get(id) or Row(id, JobState.PENDING, now)
            if id in self._rows and row.state == state:
                continue
            detail = details.get(id, {})
            until = now if state in ENDED else None
            row = replace(row, state=state, until=until, phone_id=text(detail.get("phone_id")), error=error_of(detail))
            self._rows[id] = row
            changed.append(row)
        return changed

    def newly_ended(self, jobs: Iterable[Answer]) -> set[str | None]:
        """Returns ids of the jobs that have ended since the last update."""
        return {
            id
            for id, state in map(_identified, jobs)
            if state in ENDED and not ((row := self._rows.get(id)) and row.state in ENDED)
        }

    def counts(self) -> dict[str, int]:
        counted = Counter(row.state for row in list(self._rows.values()))
        return dict(sorted(counted.items(), key=lambda count: _rank(count[0])))

    def lines(self, changed: Iterable[Row]) -> Iterator[str]:
        """Returns a line per row, without unknown values."""
        now = self._monotonic()
        return ("  ".join(cell for cell in row.cells(now) if cell != PLACEHOLDER) for row in changed)

    def dicts(self, changed: Iterable[Row]) -> Iterator[dict[str, Any]]:
        now = self._monotonic()
        return (row.as_dict(now) for row in changed)

    @property
    def all_succeeded(self) -> bool:
        return set(self.counts()) == {JobState.SUCCEEDED.value}

    @property
    def all_ended(self) -> bool:
        return bool(self._rows) and set(self.counts()) <= ENDED

    def summary(self) -> str:
        counts = self.counts()
        if not counts:
            return "no jobs known yet"
        ended = sum(number for state, number in counts.items() if state in ENDED)
        by_state = ", ".join(f"{number} {state}" for state, number in counts.items())
        return f"{ended} of {sum(counts.values())} ended: {by_state}"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = self._monotonic()
        rows = sorted(self._rows.values(), key=lambda row: _rank(row.state))
        max_rows = max(1, (options.height or console.height) - NON_JOB_LINES)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in COLUMNS:
            table.add_column(column, no_wrap=column not in CUT_COLUMNS)
        for row in islice(rows, max_rows):
            job, state, age, *cut = row.cells(now)
            texts = (Text(cell, no_wrap=True, overflow="ellipsis") for cell in cut)
            table.add_row(job, Text(state, STYLES.get(state, "")), age, *texts)
        more = f" ({len(rows) - max_rows} more not shown)" if len(rows) > max_rows else ""
        age = format_duration(timedelta(seconds=now - self._started))
        yield Group(table, Text(f"{self.summary()}{more}, {age}"), Text(self.note, "yellow"))


def _identified(job: Answer) -> tuple[str | None, str]:
    """Returns the id and the state of a job."""
    return exact_text(job.get("job_id")), printable(job.get("state"))


def _rank(state: str) -> int:
    """A state that only a newer API has comes last."""
    return ORDER.index(state) if state in ORDER else len(ORDER)
