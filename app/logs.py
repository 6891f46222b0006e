"""JSON logs on stderr: one line an event, flat fields, always with ids; never a secret, a body or a URL's path."""

import io
import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_to_json = json.JSONEncoder(ensure_ascii=False, default=str).encode

# JSON does not require escaping these. Some log readers treat them as line ends; some move a terminal's cursor.
LINE_ENDS = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}

bridge = logging.getLogger("bridge")


def event(name: str, *, level: int = logging.INFO, exc_info: bool = False, **fields: Any) -> None:
    """Logs an event: `event("delivery.dead", delivery_id=…)`. Names are `noun.what_happened`."""
    bridge.log(level, name, exc_info=exc_info, extra={"fields": fields})


class JsonLines(logging.Formatter):
    """Formats `{"time", "level", "event", …}`. Records of libraries have `event: "log"` and their text in `message`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        if record.name == bridge.name:
            line |= {"event": record.getMessage(), **getattr(record, "fields", {})}
        else:
            line |= {"event": "log", "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        text = _to_json(line)
        return text if text.isascii() and "\x7f" not in text else text.translate(LINE_ENDS)


def configure(level: str) -> None:
    """Logs everything to stderr as JSON lines. level: of the bridge's own events; libraries log from WARNING up."""
    # No line shows its caller; finding the caller costs more than writing the line (docs.python.org, Logging HOWTO).
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")  # in any locale
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    bridge.setLevel(level)
