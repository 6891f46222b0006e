"""A trial's output: aligned lines with a time, in colour on a terminal unless NO_COLOR is set."""

from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from app.devkit.timeline import TimelineLine

STYLES = {"received": "cyan", "delivered": "green", "warning": "yellow", "failed": "bold red"}


class TrialConsole:
    def __init__(self) -> None:
        # Lines are neither cut nor wrapped: commands must work when pasted.
        self._console = Console(highlight=False, markup=False, soft_wrap=True)

    def line(self, line: TimelineLine, time: str | None = None) -> None:
        """Prints one line. time: RFC 3339; default: now."""
        moment = datetime.fromisoformat(time) if time else datetime.now(UTC)  # noqa: TID251 as the logs in between
        shown = f"{moment.astimezone():%H:%M:%S.%f}"[:10]
        text = Text.assemble(
            (shown, "dim"), "  ", (f"{line.word:<11}", STYLES.get(line.word, "")), f"{line.subject:<10} ", line.detail
        )
        text.rstrip()
        self._console.print(text)

    def print(self, text: str = "") -> None:
        self._console.print(text)

    def title(self, text: str) -> None:
        self._console.print(text, style="bold")
