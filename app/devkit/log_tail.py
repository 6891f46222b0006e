"""Reads the JSON log lines of a running process."""

import json
from pathlib import Path
from typing import Any

OMITTED_FIELDS = {"time", "level", "event"}


class LogTail:
    """Returns lines logged after its creation; the file may not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def new(self) -> list[dict[str, Any]]:
        """Returns the complete lines logged since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as log:
            log.seek(self._offset)
            complete, newline, _ = log.read().rpartition(b"\n")
        self._offset += len(complete + newline)
        return [parse(line) for line in complete.decode(errors="replace").splitlines()]


def parse(line: str) -> dict[str, Any]:
    """Parses a log line; a line that is not a JSON object becomes `{"event": "log", "message": line}`."""
    try:
        parsed = json.loads(line)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"event": "log", "message": line}


def format_line(line: dict[str, Any]) -> str:
    """Returns `cph.unanswered reason=… job_id=…`; for lines of libraries, only the message."""
    if line["event"] == "log":
        return str(line["message"])
    fields = [f"{name}={value}" for name, value in line.items() if name not in OMITTED_FIELDS and value is not None]
    return " ".join([line["event"], *fields])


def last_lines(path: Path, lines: int) -> str:
    logged = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return "\n".join(format_line(parse(line)) for line in logged[-lines:])
