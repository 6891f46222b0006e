"""How the jobs of a registration fare: what a watch shows, line by line or drawn anew in a terminal."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from app.cli.output import NOT_KNOWN, printable
from app.cli.times import in_words
from app.domain.job import JobState

COLUMNS = ("job_id", "state", "age", "phone_id", "error")
STYLES = {"succeeded": "green", "failed": "bold red", "lost": "red", "overdue": "yellow", "running": "cyan"}
FRAME = 4  # lines that are no jobs
# Those first who need a look.
ORDER = ("failed", "lost", "overdue", "running", "pending", "succeeded")


@dataclass(frozen=True, slots=True)
class Row:
    """A job. since, until: seconds by the monotonic clock at which it was seen first, and ended."""

    job_id: str | None
    state: JobState
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
        shown = (self.job_id, self.state, in_words(self.age(now)), self.phone_id, self.error)
        return tuple(map(printable, shown))


class Board:
    """monotonic: seconds. note: what is in the way just now. One thread changes it while another draws it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._begun = monotonic()
        self._rows: dict[str | None, Row] = {}
        self.note = ""

    def see(self, jobs: Iterable[Mapping[str, Any]], about: Mapping[str | None, Mapping[str, Any]]) -> list[Row]:
        """Those that are new or have changed. about: of jobs that have ended, what their events say."""
        changed = []
        now = self._monotonic()
        for job in jobs:
            id, state = job["job_id"], JobState(job["state"])
            row = self._rows.get(id) or Row(id, JobState.PENDING, now)
            if id in self._rows and row.state == state:
                continue
            more = about.get(id, {})
            error = ": ".join(filter(None, (more.get("error_code"), more.get("error_msg")))) or None
            until = now if state.ended else None
            row = replace(row, state=state, until=until, phone_id=more.get("phone_id"), error=error)
            self._rows[id] = row
            changed.append(row)
        return changed

    def ended(self, jobs: Iterable[Mapping[str, Any]]) -> set[str | None]:
        """Those of them that have ended and were not seen so yet."""
        return {
            job["job_id"]
            for job in jobs
            if JobState(job["state"]).ended and not ((row := self._rows.get(job["job_id"])) and row.state.ended)
        }

    def counts(self) -> dict[str, int]:
        counted = Counter(row.state.value for row in list(self._rows.values()))
        return {state: counted[state] for state in ORDER if counted[state]}

    def lines(self, changed: Iterable[Row]) -> Iterator[str]:
        """Of these, without what is not known."""
        now = self._monotonic()
        return ("  ".join(cell for cell in row.cells(now) if cell != NOT_KNOWN) for row in changed)

    def dicts(self, changed: Iterable[Row]) -> Iterator[dict[str, Any]]:
        now = self._monotonic()
        return (row.as_dict(now) for row in changed)

    @property
    def all_succeeded(self) -> bool:
        return set(self.counts()) == {JobState.SUCCEEDED.value}

    def summary(self) -> str:
        counts = self.counts()
        if not counts:
            return "no job is known yet"
        ended = sum(number for state, number in counts.items() if JobState(state).ended)
        told = ", ".join(f"{number} {state}" for state, number in counts.items())
        return f"{ended} of {sum(counts.values())} ended: {told}"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = self._monotonic()
        rows = sorted(self._rows.values(), key=lambda row: ORDER.index(row.state))
        room = max(1, (options.height or console.height) - FRAME)
        table = Table(*COLUMNS, box=None, pad_edge=False, header_style="bold")
        for row in islice(rows, room):
            job, state, *others = row.cells(now)
            table.add_row(job, Text(state, STYLES.get(state, "")), *others)
        more = f" ({len(rows) - room} more are not shown)" if len(rows) > room else ""
        age = in_words(timedelta(seconds=now - self._begun))
        yield Group(table, Text(f"{self.summary()}{more}, {age}"), Text(self.note, "yellow"))
