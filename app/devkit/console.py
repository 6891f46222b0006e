"""What a trial shows: aligned lines with a time, in colour on a terminal unless NO_COLOR is set."""

from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from app.devkit.timeline import TimelineLine

STYLES = {"received": "cyan", "delivered": "green", "warning": "yellow", "failed": "bold red"}


class Screen:
    def __init__(self) -> None:
        # Never cut or wrapped: a line that is pasted must work.
        self._console = Console(highlight=False, markup=False, soft_wrap=True)

    def line(self, line: TimelineLine, time: str | None = None) -> None:
        """time: RFC 3339; now, when left out."""
        # The machine's clock, as in the logs of the workers whose lines stand between these.
        moment = datetime.fromisoformat(time) if time else datetime.now(UTC)  # noqa: TID251
        shown = f"{moment.astimezone():%H:%M:%S.%f}"[:10]
        text = Text.assemble(
            (shown, "dim"), "  ", (f"{line.word:<11}", STYLES.get(line.word, "")), f"{line.subject:<10} ", line.detail
        )
        text.rstrip()
        self._console.print(text)

    def say(self, text: str = "") -> None:
        self._console.print(text)

    def title(self, text: str) -> None:
        self._console.print(text, style="bold")
