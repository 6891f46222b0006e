"""Reading the JSON lines that a process logs, as they come."""

import json
from pathlib import Path
from typing import Any

UNTOLD = {"time", "level", "event"}


class LogTail:
    """What is logged from now on; the file may not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = path.stat().st_size if path.exists() else 0

    def new(self) -> list[dict[str, Any]]:
        """What has come since the last call, as far as its lines are whole."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as log:
            log.seek(self._read)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._read += len(whole + newline)
        return [parse(line) for line in whole.decode(errors="replace").splitlines()]


def parse(line: str) -> dict[str, Any]:
    """What did not come through our logging is kept as a message."""
    try:
        parsed = json.loads(line)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"event": "log", "message": line}


def words(line: dict[str, Any]) -> str:
    """`cph.unanswered reason=… job_id=…`; of what a library logged, its message."""
    if line["event"] == "log":
        return str(line["message"])
    fields = [f"{name}={value}" for name, value in line.items() if name not in UNTOLD and value is not None]
    return " ".join([line["event"], *fields])


def last_words(path: Path, lines: int) -> str:
    logged = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return "\n".join(words(parse(line)) for line in logged[-lines:])
